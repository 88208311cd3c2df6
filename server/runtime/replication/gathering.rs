//! `repl-diskless-sync-delay`: replicas that come one after another get their
//! full sync at the same time.
//!
//! There is nothing to share here, each has a snapshot of its own that costs
//! next to nothing; so the directive's default, 5 seconds, means no wait, and
//! only another value does.

use std::sync::atomic::Ordering;

use redoubt_cluster::replication::peer::Stage;

use crate::config::id;
use crate::replication::replicas::Replica;
use crate::state::Server;

/// Whether a replica that has waited since `began_ms` is to wait no longer.
pub fn is_over(server: &Server, replica: &Replica, began_ms: u64, now_ms: u64) -> bool {
    let (delay_ms, most) = {
        let config = server.config.read();
        let number = |name| config.integer(id(name)).max(0) as u64;
        let delay = id("repl-diskless-sync-delay");
        if config.is_default(delay) || !config.bool(id("repl-diskless-sync")) {
            return true;
        }
        (
            number("repl-diskless-sync-delay") * 1000,
            number("repl-diskless-sync-max-replicas"),
        )
    };
    if !replica.peer.lock().capabilities.eof {
        return true;
    }
    let let_go_ms = &server.replication.let_go_ms;
    if let_go_ms.load(Ordering::Acquire) > began_ms {
        return true;
    }
    let waits = |other: &&std::sync::Arc<Replica>| {
        let peer = other.peer.lock();
        peer.stage == Stage::WaitsForSnapshot && peer.capabilities.eof
    };
    let waiting = server
        .replication
        .replicas
        .all()
        .iter()
        .filter(waits)
        .count() as u64;
    let enough = most != 0 && waiting >= most;
    if enough || now_ms >= began_ms + delay_ms {
        let_go_ms.store(now_ms, Ordering::Release);
        return true;
    }
    false
}
