//! Replication in a cluster: the bus says whom to follow, and is told how far
//! this node has come.

use std::sync::atomic::Ordering;

use redoubt_cluster::bus::Replication;
use redoubt_cluster::replication::link::Phase;

use crate::replication::Target;
use crate::runtime::replication::switch;
use crate::state::Server;

/// Follows a node. `full_sync`: what this node holds is no copy of its data.
pub fn follow(server: &'static Server, ip: String, port: u16, full_sync: bool) {
    if let Some(cluster) = server.cluster.as_ref().filter(|_| full_sync) {
        cluster.copy_is_whole.store(false, Ordering::Relaxed);
    }
    change(server, Some(Target { host: ip, port }));
}

/// Follows nobody any more; the data stays.
pub fn lead(server: &'static Server) {
    change(server, None);
}

fn change(server: &'static Server, target: Option<Target>) {
    if let Err(error) = switch(server, target) {
        // A role that is not on disk must not be played.
        tracing::error!("The change of role could not be saved: {error}");
        std::process::exit(1);
    }
}

/// A node that was a replica is one again before anything else happens.
/// `fresh`: its data directory was empty.
pub fn at_start(server: &'static Server, fresh: bool) {
    if fresh {
        give_way(server);
    }
    let Some(cluster) = &server.cluster else {
        return;
    };
    let primary = cluster.read(|bus| {
        let primary = bus.me().primary.and_then(|key| bus.table().get(key));
        primary.map(|node| (node.address.ip.clone(), node.address.port))
    });
    if let Some((ip, port)) = primary.filter(|(ip, _)| !ip.is_empty()) {
        follow(server, ip, port, false);
    }
}

/// A primary that has slots and replicas, and yet begins with an empty data
/// directory, has lost its data: it says nothing for so long that the others
/// hold it for dead, so that a replica takes over instead of being wiped.
fn give_way(server: &'static Server) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    let timeout_ms = cluster.read(|bus| {
        let replicas = bus.table().replicas(bus.myself()).count();
        let leads = bus.me().votes() && replicas != 0;
        leads.then_some(bus.options().node_timeout_ms)
    });
    if let Some(timeout_ms) = timeout_ms.filter(|_| !super::keys::any(server)) {
        let silence = std::time::Duration::from_millis(timeout_ms * 2 + TO_ELECT_MS);
        tracing::warn!(
            "The data of this primary is gone. It keeps silent for {silence:?}, so that a replica, which has it, can take over"
        );
        std::thread::sleep(silence);
    }
}

/// Time for an election.
const TO_ELECT_MS: u64 = 3000;

/// Notes whether the copy of the primary's data is whole, at once: a primary
/// that is lost right after the copy must not find a replica without one.
pub fn note_phase(server: &Server) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    let whole = &cluster.copy_is_whole;
    match server.replication.link.phase() {
        Phase::Streaming => whole.store(true, Ordering::Relaxed),
        Phase::Syncing => whole.store(false, Ordering::Relaxed),
        Phase::Waiting | Phase::Connecting | Phase::HandShake => {}
    }
}

/// How replication stands, for the bus.
pub fn status(server: &Server) -> Replication {
    let replication = &server.replication;
    let end = server
        .any_storage()
        .map_or(0, |storage| storage.log.end().0);
    let offset = replication.stream_offset(end);
    let Some(cluster) = server.cluster.as_ref() else {
        return Replication::default();
    };
    note_phase(server);
    let whole = &cluster.copy_is_whole;
    let heard_ms = replication.link.heard_ms.load(Ordering::Relaxed);
    let silent_ms = replication.now_ms().saturating_sub(heard_ms);
    Replication {
        offset,
        synced: replication.is_replica() && whole.load(Ordering::Relaxed),
        heard_ms: cluster.now_ms().saturating_sub(silent_ms),
    }
}
