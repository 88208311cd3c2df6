//! What the bus decides for keys and clients, carried out on a thread of its
//! own: a million keys to delete must not keep a heartbeat waiting.

use std::sync::mpsc::Receiver;

use redoubt_cluster::bus::Output;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slots::Slot;

use super::{keys, route};
use crate::connection::pause;
use crate::connection::pubsub::Kind;
use crate::state::{Server, unix_ms};

/// One of them.
#[derive(Debug)]
pub enum Effect {
    /// Replicate another node.
    BecomeReplicaOf {
        /// Its name.
        id: NodeId,
        /// IP address.
        ip: String,
        /// Port for clients.
        port: u16,
        /// Its data has another history.
        full_sync: bool,
    },
    /// Stop replicating.
    BecomePrimary,
    /// Hold back writes until then (Unix ms); None: no longer.
    PauseWrites(Option<u64>),
    /// Delete the keys of these slots.
    DeleteKeys(Vec<Slot>),
    /// Delete all keys.
    DeleteAll,
    /// A message for subscribers.
    Deliver {
        /// Whether the channel is a shard channel.
        sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// Who serves which slot may have changed.
    Changed,
}

impl Effect {
    /// The effect that an output asks for, if it is one.
    pub fn of(output: Output) -> Option<Effect> {
        Some(match output {
            Output::BecomeReplicaOf {
                id,
                ip,
                port,
                full_sync,
            } => Effect::BecomeReplicaOf {
                id,
                ip,
                port,
                full_sync,
            },
            Output::BecomePrimary => Effect::BecomePrimary,
            Output::PauseWrites(until_ms) => Effect::PauseWrites(until_ms),
            Output::DeleteKeys(slots) => Effect::DeleteKeys(slots),
            Output::DeleteAll => Effect::DeleteAll,
            Output::Deliver {
                sharded,
                channel,
                payload,
            } => Effect::Deliver {
                sharded,
                channel,
                payload,
            },
            Output::Persist { .. }
            | Output::Connect { .. }
            | Output::Close(_)
            | Output::Send(..)
            | Output::Note(_) => return None,
        })
    }
}

/// What replication has to do for the cluster; to be filled in by it.
pub trait Replicator: Send + Sync {
    /// Follow this node. `full_sync`: its data has another history than ours.
    fn follow(&self, server: &'static Server, ip: &str, port: u16, full_sync: bool);
    /// Follow nobody; keep the data.
    fn lead(&self, server: &'static Server);
}

/// Carries out effects until the server ends.
pub fn run(server: &'static Server, effects: &Receiver<Effect>) {
    while let Ok(effect) = effects.recv() {
        match effect {
            Effect::BecomeReplicaOf {
                id,
                ip,
                port,
                full_sync,
            } => match server.replicator.get() {
                Some(replicator) => replicator.follow(server, &ip, port, full_sync),
                None => tracing::warn!("This server can't replicate {id} at {ip}:{port} yet"),
            },
            Effect::BecomePrimary => {
                if let Some(replicator) = server.replicator.get() {
                    replicator.lead(server);
                }
            }
            Effect::PauseWrites(Some(until_ms)) => {
                pause::begin(server, until_ms as i64, true, unix_ms());
            }
            Effect::PauseWrites(None) => pause::end(server),
            Effect::DeleteKeys(slots) => keys::delete(server, &slots),
            Effect::DeleteAll => keys::delete_all(server),
            Effect::Deliver {
                sharded,
                channel,
                payload,
            } => {
                let kind = match sharded {
                    true => Kind::Shard,
                    false => Kind::Channel,
                };
                let limit = &server.settings.pubsub_output_limit;
                server.pubsub.publish(kind, &channel, &payload, limit);
            }
            Effect::Changed => route::redirect_waiting(server),
        }
    }
}
