//! Which checkpoints wait: what no replica has told to have may turn out to be
//! no part of the history, if a replica is promoted that does not have it. As
//! long as the tree has none of it there is a way back (`replication/rewind`).
//!
//! So a checkpoint's transaction is committed once a replica has acknowledged
//! its offset, which takes a second at most. When there is no answer it waits
//! longer, but never long: the log grows meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redoubt_cluster::replication::peer::Stage;
use redoubt_persistence::log::Offset;

use crate::state::{Server, Storage};

/// How long a checkpoint waits at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much is written behind it at most meanwhile.
const PATIENCE_BYTES: u64 = 64 << 20;
/// A replica or primary that has been gone for longer is not waited for.
const GONE_MS: u64 = 60_000;
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until a checkpoint of `offset` may be committed; `pressed` says that
/// somebody wants it now. False if it is to be given up: the tree's next state
/// is to be another, or it would have to wait while slots are to change hands.
pub fn wait(
    server: &Server,
    storage: &Storage,
    offset: Offset,
    pressed: impl Fn() -> bool,
) -> bool {
    let began = Instant::now();
    let is_late = || {
        let behind = storage.log.end().0.saturating_sub(offset.0);
        began.elapsed() > PATIENCE || behind > PATIENCE_BYTES
    };
    while !storage.is_turn_wanted() {
        let wanted = || server.health.checkpoint_wanted.load(Ordering::Relaxed);
        let failed = || storage.log.failure().is_some();
        if !may_be_void(server, offset) || pressed() || wanted() || failed() || is_late() {
            return true;
        }
        if storage.is_turn_wished() {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    false
}

/// Whether what is in the log up to `offset` may have to be given up.
fn may_be_void(server: &Server, offset: Offset) -> bool {
    let replication = &server.replication;
    let now_ms = replication.now_ms();
    let is_recent = |since_ms: u64| now_ms.saturating_sub(since_ms) < GONE_MS;
    if replication.is_replica() {
        let link = &replication.link;
        return !link.is_up() && is_recent(link.down_since_ms.load(Ordering::Relaxed));
    }
    let replicas = replication.replicas.all();
    let acknowledged = replicas.iter().filter_map(|replica| {
        let peer = replica.peer.lock();
        (peer.stage == Stage::Online && peer.acknowledges).then_some(peer.applied)
    });
    if let Some(most) = acknowledged.max() {
        return most < replication.stream_offset(offset.0);
    }
    let heard_ms = replication.replicas.heard_ms.load(Ordering::Relaxed);
    (heard_ms != 0 || has_shard(server)) && is_recent(heard_ms)
}

/// Whether other nodes of the cluster are replicas of this one, or it has just
/// become one itself: the bus knows that before it takes effect.
fn has_shard(server: &Server) -> bool {
    let cluster = server.cluster.as_ref();
    cluster.is_some_and(|cluster| {
        cluster.read(|bus| {
            let (table, myself) = (bus.table(), bus.myself());
            table.get(myself).is_some_and(|me| me.primary.is_some())
                || table.replicas(myself).next().is_some()
        })
    })
}
