//! The thread on which a script goes on that was set aside. It is begun before
//! the script gives way: where no thread can be had, the script has to stay.

use std::cell::Cell;
use std::sync::mpsc::{Sender, channel};

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// A thread that waits for this worker's next job.
    static READY: Cell<Option<Sender<Job>>> = const { Cell::new(None) };
}

/// Sees to it that this worker has a thread for [`run`]. False if there is none
/// to be had.
pub fn prepare() -> bool {
    if let Some(thread) = READY.take() {
        READY.set(Some(thread));
        return true;
    }
    let (jobs, next) = channel::<Job>();
    let begun = std::thread::Builder::new()
        .name("script".into())
        .spawn(move || next.recv().map_or((), |job| job()));
    match begun {
        Ok(_) => READY.set(Some(jobs)),
        Err(error) => {
            tracing::warn!("no thread for a long script, which holds up its worker: {error}");
            return false;
        }
    }
    true
}

/// Runs a job on the thread that [`prepare`] has begun.
pub fn run(job: impl FnOnce() + Send + 'static) {
    let thread = READY.take();
    let thread = thread.expect("a script is set aside once there is a thread for it");
    let taken = thread.send(Box::new(job));
    assert!(taken.is_ok(), "the thread waits for its job");
}
