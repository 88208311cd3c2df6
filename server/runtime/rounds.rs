//! How busy a worker is: how many connections ran between two sleeps of it.
//!
//! Source of the idea: Valkey handles all that has arrived before it writes
//! the first reply. A sleeping client on another core is then woken once, not
//! once a connection, which is a third of the kernel's work at 50 clients.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use crate::state::Server;

thread_local! {
    /// Connections that ran since the worker slept last, and before that.
    static RAN: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// After so many connections the log need not wait for the worker's sleep.
const MANY: u32 = 256;

/// Counts a connection that runs.
pub fn count(server: &Server) {
    RAN.with(|ran| {
        let (now, before) = ran.get();
        ran.set((now.saturating_add(1), before));
        if now % MANY == MANY - 1 {
            write_log(server);
        }
    });
}

/// The worker is about to sleep.
pub fn end(server: &Server) {
    RAN.with(|ran| ran.set((0, ran.get().0)));
    write_log(server);
    crate::resident::collect_if_asked();
}

fn write_log(server: &Server) {
    if let Some(log) = server.log() {
        log.end_round();
    }
}

/// Whether several connections ran in this round or in the one before it.
pub fn is_busy() -> bool {
    let (now, before) = RAN.with(Cell::get);
    now > 1 || before > 1
}

/// Lets the other connections that are to run in this round go first.
///
/// Unlike tokio's `yield_now` it does not ask the kernel for new events.
pub async fn others_first() {
    let mut went = false;
    poll_fn(|context| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
