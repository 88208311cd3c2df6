//! Replication in a cluster: the bus says whom to follow, and is told how far
//! this node has come.

use std::sync::atomic::Ordering;

use redoubt_cluster::bus::Replication;
use redoubt_cluster::replication::link::Phase;

use super::Cluster;
use crate::replication::Target;
use crate::runtime::replication::switch;
use crate::state::Server;

/// Follows a node. `full_sync`: what this node holds is no copy of its data.
pub fn follow(server: &'static Server, ip: String, port: u16, full_sync: bool) {
    if let Some(cluster) = server.cluster.as_ref().filter(|_| full_sync) {
        cluster.copy_is_whole.store(false, Ordering::Relaxed);
        keep_copy_of(server, None);
    }
    change(server, Some(Target { host: ip, port }));
}

/// Follows nobody any more; the data stays.
pub fn lead(server: &'static Server) {
    keep_copy_of(server, None);
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
    if let Some(Primary { name, target }) = primary(cluster) {
        let copy_of = server.replication.identity().copy_of;
        let whole = !fresh && copy_of.is_some_and(|node| node == name);
        cluster.copy_is_whole.store(whole, Ordering::Relaxed);
        follow(server, target.host, target.port, false);
    }
}

/// The node that this one replicates.
struct Primary {
    name: String,
    target: Target,
}

fn primary(cluster: &Cluster) -> Option<Primary> {
    let primary = cluster.read(|bus| {
        let node = bus.table().get(bus.me().primary?)?;
        Some(Primary {
            name: node.id.to_string(),
            target: Target {
                host: node.address.ip.clone(),
                port: node.address.port,
            },
        })
    });
    primary.filter(|primary| !primary.target.host.is_empty())
}

/// Keeps on disk whose data this is a whole copy of: a replica that starts
/// while its primary is dead can't ask.
fn keep_copy_of(server: &Server, node: Option<String>) {
    let replication = &server.replication;
    if replication.identity().copy_of == node {
        return;
    }
    let kept = replication.change_identity(|identity| identity.copy_of = node);
    if let Err(error) = kept {
        tracing::error!("can't write the replication state: {error}");
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

/// Notes what the link has come to, at once: a primary that is lost right after
/// the copy must not find a replica without one. For the thread of the link,
/// since it may write to the disk.
pub fn keep_phase(server: &Server) {
    note_phase(server);
    let Some(cluster) = &server.cluster else {
        return;
    };
    let whole = cluster.copy_is_whole.load(Ordering::Relaxed);
    match (server.replication.link.phase(), primary(cluster)) {
        (Phase::Syncing, _) => {
            cluster.migrations.take_followed();
            keep_copy_of(server, None);
        }
        (Phase::Streaming, Some(primary))
            if whole && server.replication.target().as_ref() == Some(&primary.target) =>
        {
            keep_copy_of(server, Some(primary.name));
        }
        _ => {}
    }
}

/// Notes whether the copy of the primary's data is whole.
fn note_phase(server: &Server) {
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
    let followed_ms = replication.link.followed_ms.load(Ordering::Relaxed);
    let silent_ms = replication.now_ms().saturating_sub(followed_ms);
    // One that was not followed since the start has been silent for ever.
    let known_ms = match followed_ms {
        0 => 0,
        _ => cluster.now_ms().saturating_sub(silent_ms),
    };
    Replication {
        offset,
        synced: replication.is_replica() && whole.load(Ordering::Relaxed),
        heard_ms: known_ms,
    }
}
