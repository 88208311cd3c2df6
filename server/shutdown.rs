//! SHUTDOWN: what was asked for, and whether it can still be called off.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::connection::pause::{self, Purpose};
use crate::connection::serve;
use crate::state::{Server, unix_ms};

/// What a client gets whose SHUTDOWN comes to nothing.
pub const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// How the server is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Everything is made durable as well as can be, rather than as fast.
    pub clean: bool,
    /// A snapshot file is written.
    pub save: bool,
    /// The server ends although that has failed.
    pub force: bool,
    /// Replicas are not waited for.
    pub now: bool,
}

/// The shutdown that was asked for, if any.
#[derive(Default)]
pub struct Shutdown {
    state: Mutex<State>,
    /// Rung when there is news for the thread that ends the server.
    pub bell: tokio::sync::Notify,
    /// Until when (Unix ms) replicas are waited for; 0 when they are not.
    until_ms: AtomicI64,
}

#[derive(Default)]
struct State {
    /// Grows with each request that is the first of a shutdown.
    number: u64,
    request: Option<Request>,
    /// It can't be called off any more.
    is_final: bool,
}

impl Shutdown {
    /// Asks for it. One that is under way stays as it is, unless this one is in
    /// a hurry. Gives its number.
    pub fn ask(&self, request: Request) -> u64 {
        let mut state = self.state.lock();
        match &mut state.request {
            Some(under_way) => under_way.now |= request.now,
            None => {
                state.request = Some(request);
                state.number += 1;
            }
        }
        self.bell.notify_one();
        state.number
    }

    /// The one under way, and its number.
    pub fn pending(&self) -> Option<(u64, Request)> {
        let state = self.state.lock();
        state.request.map(|request| (state.number, request))
    }

    /// Whether the one of this number is under way, and how.
    pub fn get(&self, number: u64) -> Option<Request> {
        let pending = self.pending();
        pending.filter(|(n, _)| *n == number).map(|(_, r)| r)
    }

    /// From now on it can't be called off; false if it has been.
    pub fn make_final(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        state.is_final = state.number == number && state.request.is_some();
        state.is_final
    }

    /// Notes until when replicas are waited for.
    pub fn wait_until(&self, until_ms: i64) {
        self.until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Milliseconds that replicas are waited for at most, if they are.
    pub fn left_ms(&self) -> Option<i64> {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        (until_ms != 0).then(|| until_ms - unix_ms())
    }
}

/// Calls a shutdown off, at the wish of a client; false if there is none.
pub fn abort(server: &Server) -> bool {
    {
        let mut state = server.shutdown.state.lock();
        if state.is_final || state.request.take().is_none() {
            return false;
        }
    }
    tracing::info!("Shutdown manually aborted.");
    go_on(server);
    true
}

/// Calls off the shutdown that could not be finished.
pub fn give_up(server: &Server) {
    {
        let mut state = server.shutdown.state.lock();
        (state.request, state.is_final) = (None, false);
    }
    go_on(server);
}

fn go_on(server: &Server) {
    server.shutdown.wait_until(0);
    pause::end(server, Purpose::Shutdown);
    serve::answer_those_who_end(server);
    server.shutdown.bell.notify_one();
}
