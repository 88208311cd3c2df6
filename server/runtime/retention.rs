//! How much of the log is kept behind the tree for replicas that come back
//! (I5). `repl-backlog-size` always, as a user of Redis expects; and while
//! replicas are there, or were within `repl-backlog-ttl`, up to
//! `log-retention-size`, where the disk has room for it.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::replication::scratch;
use super::watch::free_bytes;
use crate::config::{DirectiveId, id};
use crate::state::Server;

const BACKLOG: DirectiveId = id("repl-backlog-size");
const TTL: DirectiveId = id("repl-backlog-ttl");
const RETENTION: DirectiveId = id("log-retention-size");
/// After a start replicas have so long to come back.
const GRACE_MS: u64 = 60_000;
/// Of what is free on the disk, together with what is kept already, at most
/// this share is kept.
const DISK_SHARE: u64 = 4;

/// Bytes of log to keep, of which `kept` are there now.
pub fn bytes(server: &Server, kept: u64) -> u64 {
    let (backlog, ttl_s, retention) = {
        let config = server.config.read();
        let of = |directive| config.integer(directive).max(0) as u64;
        (of(BACKLOG), of(TTL), of(RETENTION))
    };
    if !may_return(server, ttl_s.saturating_mul(1000)) {
        return backlog;
    }
    let free = server.health.disk_free.load(Relaxed);
    backlog.max(retention.min((free + kept) / DISK_SHARE))
}

/// Ends the links of replicas that are so slow that what is kept for them is
/// more than what is free on the disk: writes would be refused before long.
pub fn drop_laggards(server: &Server, end: u64) {
    let free = match server.storage() {
        Some(_) => server.health.disk_free.load(Relaxed),
        // Nobody watches the disk of a pure cache.
        None => free_bytes(&scratch::directory()).unwrap_or(u64::MAX),
    };
    let config = server.config.read();
    let least = config
        .integer(BACKLOG)
        .max(config.integer(RETENTION))
        .max(0) as u64;
    drop(config);
    for replica in server.replication.replicas.connected() {
        let kept = end.saturating_sub(replica.kept_from.load(Acquire));
        if kept > free && kept > least {
            tracing::warn!(
                "Disconnecting replica {}, which is too slow: {kept} bytes of log are kept for it, {free} are free",
                replica.client.address
            );
            replica.client.kill();
        }
    }
}

/// Whether a replica may want to go on from the log.
fn may_return(server: &Server, ttl_ms: u64) -> bool {
    let replication = &server.replication;
    // Others that follow the same primary may follow us after a promotion.
    if replication.is_replica() || !replication.replicas.all().is_empty() {
        return true;
    }
    let now_ms = replication.now_ms();
    match replication.replicas.heard_ms.load(Relaxed) {
        // One that begins with nothing had none before either.
        0 => now_ms < GRACE_MS && !replication.identity().history.before.is_empty(),
        heard_ms => ttl_ms == 0 || now_ms.saturating_sub(heard_ms) < ttl_ms,
    }
}
