//! The thread that frees what is large.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::entry::Entry;
use super::stripe::StripeDb;
use crate::memory::used_bytes;
use crate::resident::collect_everywhere;

/// Less than this need not go back to the system.
const WORTHWHILE_BYTES: u64 = 16 << 20;
/// It does after so long without more to free.
const QUIET: Duration = Duration::from_millis(500);

/// What is freed in the background.
pub enum Garbage {
    /// One large value.
    Entry(Entry),
    /// A share of a database that was flushed.
    Share(Box<StripeDb>),
}

impl Garbage {
    /// The keys in it.
    fn objects(&self) -> u64 {
        match self {
            Garbage::Entry(_) => 1,
            Garbage::Share(share) => share.tables.iter().map(|table| table.len() as u64).sum(),
        }
    }
}

/// Keys that wait for it, and keys freed so far.
#[derive(Default)]
pub struct Freed {
    /// Not yet.
    pub pending: AtomicU64,
    /// Since the start, or since RESETSTAT.
    pub done: AtomicU64,
}

/// For INFO.
pub static FREED: Freed = Freed {
    pending: AtomicU64::new(0),
    done: AtomicU64::new(0),
};

/// Hands something over to the thread that frees.
pub fn free_later(garbage: Garbage) {
    static SENDER: OnceLock<Sender<Garbage>> = OnceLock::new();
    let sender = SENDER.get_or_init(|| {
        let (sender, receiver) = channel();
        let spawned = std::thread::Builder::new()
            .name("free".into())
            .spawn(move || free_all(&receiver));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to free memory in the background");
        }
        sender
    });
    FREED
        .pending
        .fetch_add(garbage.objects(), Ordering::Relaxed);
    if let Err(unsent) = sender.send(garbage) {
        free(unsent.0);
    }
}

/// Frees what comes. Once that is over, the pages go back to the system: for what
/// comes next they may be of no use.
fn free_all(receiver: &Receiver<Garbage>) {
    let mut freed = 0;
    loop {
        let wait = match freed < WORTHWHILE_BYTES {
            true => Duration::MAX,
            false => QUIET,
        };
        match receiver.recv_timeout(wait) {
            Ok(garbage) => {
                let before = used_bytes();
                free(garbage);
                freed += before.saturating_sub(used_bytes());
            }
            Err(RecvTimeoutError::Timeout) => {
                collect_everywhere();
                freed = 0;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn free(garbage: Garbage) {
    let objects = garbage.objects();
    drop(garbage);
    FREED.done.fetch_add(objects, Ordering::Relaxed);
    FREED.pending.fetch_sub(objects, Ordering::Relaxed);
}
