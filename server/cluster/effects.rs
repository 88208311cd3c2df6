//! What the bus decides for keys and clients, carried out on a thread of its
//! own: a million keys to delete must not keep a heartbeat waiting.

use std::sync::mpsc::Receiver;

use redoubt_cluster::bus::{Input, Output};
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slots::Slot;

use super::{keys, replicate, route};
use crate::connection::pause;
use crate::connection::pubsub::Kind;
use crate::keyspace::stripe::StripeSet;
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

/// How long a command may take from the look at the pause to its lock.
const UNDER_WAY: std::time::Duration = std::time::Duration::from_millis(5);

/// Holds back writes for a manual failover, and tells the bus from which
/// offset on: once no command is under way any more.
fn pause_writes(server: &'static Server, until_ms: u64) {
    pause::begin(server, until_ms as i64, true, unix_ms());
    std::thread::sleep(UNDER_WAY);
    let held = server.keyspace.lock(StripeSet::ALL);
    let offset = super::replicate::status(server).offset;
    drop(held);
    if let Some(cluster) = &server.cluster {
        cluster.handle(Input::WritesPaused { offset });
    }
}

/// Ends subscriptions to shard channels of slots that this shard lost.
fn drop_foreign_channels(server: &Server) {
    let Some(cluster) = server.cluster.as_ref() else {
        return;
    };
    if server.pubsub.len(Kind::Shard) == 0 {
        return;
    }
    let mine = cluster.read(|bus| {
        let shard = bus.table().get(bus.shard_primary());
        shard.map(|node| node.slots.clone()).unwrap_or_default()
    });
    server
        .pubsub
        .drop_shard_channels(|name| !mine.contains(Slot::of_key(name)));
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
            } => {
                tracing::info!("Following {id} at {ip}:{port}");
                replicate::follow(server, ip, port, full_sync);
            }
            Effect::BecomePrimary => replicate::lead(server),
            Effect::PauseWrites(Some(until_ms)) => pause_writes(server, until_ms),
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
            Effect::Changed => {
                route::redirect_waiting(server);
                drop_foreign_channels(server);
            }
        }
    }
}
