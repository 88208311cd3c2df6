//! FAILOVER: hands over to a replica that has everything.
//!
//! | state | meaning | next |
//! |---|---|---|
//! | none | | FAILOVER pauses writes: waiting |
//! | waiting | until the replica has everything, or time is over | handing over, or none |
//! | handing over | we follow it, and ask it to become the primary | none |

use parking_lot::Mutex;
use redoubt_cluster::replication::peer::Stage;

use super::{change_role, switch};
use crate::connection::pause::{self, Purpose};
use crate::keyspace::stripe::StripeSet;
use crate::replication::Target;
use crate::state::{Server, unix_ms};

/// Writes are paused for as long as this, unless the failover ends before.
const PAUSE_MS: i64 = 24 * 3600 * 1000;

/// The failover under way.
#[derive(Default)]
pub struct Failover {
    state: Mutex<State>,
}

#[derive(Default, Clone, PartialEq, Eq)]
enum State {
    #[default]
    None,
    Waiting(Request),
    HandingOver(Target),
}

/// What FAILOVER asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To whom; None: to the first that has everything.
    pub to: Option<Target>,
    /// Hand over when time is over, even if it hasn't.
    pub force: bool,
    /// When time is over, on the clock of replication; None: never.
    pub until_ms: Option<u64>,
}

impl Failover {
    /// The word in INFO.
    pub fn name(&self) -> &'static str {
        match *self.state.lock() {
            State::None => "no-failover",
            State::Waiting(_) => "waiting-for-sync",
            State::HandingOver(_) => "failover-in-progress",
        }
    }

    /// Whether one is under way.
    pub fn is_under_way(&self) -> bool {
        *self.state.lock() != State::None
    }

    /// Whether the primary that we follow is to take over.
    pub fn is_handing_over(&self) -> bool {
        matches!(*self.state.lock(), State::HandingOver(_))
    }

    /// Goes on from waiting to handing over; false if this request does not wait
    /// any more.
    fn hand_over(&self, request: &Request, target: &Target) -> bool {
        let mut state = self.state.lock();
        let waits = matches!(&*state, State::Waiting(waiting) if waiting == request);
        if waits {
            *state = State::HandingOver(target.clone());
        }
        waits
    }
}

/// Begins.
pub fn begin(server: &Server, request: Request) {
    tracing::info!("FAILOVER requested.");
    *server.replication.failover.state.lock() = State::Waiting(request);
    let now_ms = unix_ms();
    pause::begin(server, Purpose::Failover, now_ms + PAUSE_MS, true, now_ms);
    super::ask_for_acks(server);
    server.replication.log_bell.ring();
}

/// Gives it up; false if there is none.
pub fn abort(server: &'static Server) -> bool {
    let state = std::mem::take(&mut *server.replication.failover.state.lock());
    match state {
        State::None => return false,
        State::Waiting(_) => {}
        State::HandingOver(_) => hand_back(server),
    }
    pause::end(server, Purpose::Failover);
    tracing::info!("Failover aborted");
    true
}

/// Does what is due.
pub fn advance(server: &'static Server) {
    let replication = &server.replication;
    let state = replication.failover.state.lock().clone();
    match state {
        State::None => {}
        State::Waiting(request) => {
            let over = request
                .until_ms
                .is_some_and(|at| replication.now_ms() >= at);
            let forced = || request.to.clone().filter(|_| over && request.force);
            match (ready(server, &request), forced()) {
                (Some((target, end)), _) => hand_over(server, &request, target, Some(end)),
                (None, Some(target)) => {
                    tracing::info!("Failover time out exceeded, failing over.");
                    hand_over(server, &request, target, None);
                }
                (None, None) if over => {
                    abort(server);
                }
                (None, None) => {}
            }
        }
        State::HandingOver(target) => {
            if replication.link.is_up() && replication.target() == Some(target) {
                *replication.failover.state.lock() = State::None;
                pause::end(server, Purpose::Failover);
                tracing::info!("Failover succeeded");
            }
        }
    }
}

/// A replica that may take over and has everything, and the offset of its end.
fn ready(server: &Server, request: &Request) -> Option<(Target, u64)> {
    let replication = &server.replication;
    let log = server.log()?;
    let end = replication.stream_offset(log.end().0);
    let found = replication.replicas.all().into_iter().find_map(|replica| {
        let target = Target {
            host: replica.ip(),
            port: replica.peer.lock().listening_port,
        };
        let peer = replica.peer.lock();
        let has_all = peer.stage == Stage::Online && peer.acknowledges && peer.applied >= end;
        let wanted = request.to.as_ref().is_none_or(|to| *to == target);
        (has_all && wanted).then_some((target, end))
    });
    if found.is_none() {
        // A replica tells how far it is each second; that is often enough.
        log.write_soon();
    }
    found
}

/// The replica has refused to take over.
pub fn refused(server: &'static Server) {
    if server.replication.failover.is_handing_over() {
        tracing::warn!("Failover target rejected psync request");
        abort(server);
    }
}

/// Lets a replica take over, unless the stream has gone on behind the `end`
/// that it has: a write may have been under way when the pause began. With all
/// stripes locked none is. To lock them may take as long as a command does, and
/// the request may be given up meanwhile.
fn hand_over(server: &'static Server, request: &Request, target: Target, end: Option<u64>) {
    let held = server.keyspace.lock(StripeSet::ALL);
    let now = server
        .log()
        .map(|log| server.replication.stream_offset(log.end().0));
    if end.is_some() && end != now {
        return;
    }
    if !server.replication.failover.hand_over(request, &target) {
        return;
    }
    tracing::info!("Failing over to {}:{}", target.host, target.port);
    if let Err(error) = change_role(server, Some(target)) {
        tracing::error!("can't follow: {error}");
    }
    drop(held);
}

fn hand_back(server: &'static Server) {
    if let Err(error) = switch(server, None) {
        tracing::error!("can't write the replication state: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_that_still_waits_is_handed_over() {
        let target = Target {
            host: "replica".into(),
            port: 1,
        };
        let mut request = Request {
            to: None,
            force: false,
            until_ms: Some(5),
        };
        let failover = Failover::default();
        assert!(!failover.hand_over(&request, &target), "it was given up");
        *failover.state.lock() = State::Waiting(request.clone());
        request.until_ms = Some(7);
        assert!(!failover.hand_over(&request, &target), "another waits");
        assert!(!failover.is_handing_over());
        request.until_ms = Some(5);
        assert!(failover.hand_over(&request, &target));
        assert!(failover.is_handing_over());
        assert!(!failover.hand_over(&request, &target), "it is under way");
    }
}
