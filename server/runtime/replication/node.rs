//! Replication for the cluster: whom to follow is decided on the bus.

use std::sync::atomic::Ordering;

use redoubt_cluster::bus::Replication;

use super::switch;
use crate::cluster::effects::Replicator;
use crate::replication::Target;
use crate::state::{Server, unix_ms};

/// Does what the cluster decides.
pub struct ForCluster;

impl Replicator for ForCluster {
    // Whether everything has to be sent follows from the histories' names.
    fn follow(&self, server: &'static Server, ip: &str, port: u16, _: bool) {
        let target = Target {
            host: ip.to_owned(),
            port,
        };
        obey(server, Some(target));
    }

    fn lead(&self, server: &'static Server) {
        obey(server, None);
    }
}

fn obey(server: &'static Server, target: Option<Target>) {
    if let Err(error) = switch(server, target) {
        tracing::error!("can't write the replication state: {error}");
    }
}

/// How replication stands, for the bus.
pub fn standing(server: &Server) -> Replication {
    let replication = &server.replication;
    let end = server.log().map_or(0, |log| log.end().0);
    let heard_ms = replication.link.heard_ms.load(Ordering::Relaxed);
    let ago_ms = replication.now_ms().saturating_sub(heard_ms);
    let synced = replication.link.synced.load(Ordering::Relaxed);
    Replication {
        offset: replication.stream_offset(end),
        synced: replication.is_replica() && synced,
        heard_ms: (unix_ms() as u64).saturating_sub(ago_ms),
    }
}
