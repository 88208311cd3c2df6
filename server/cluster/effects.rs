//! What the bus decides for keys and clients, carried out on a thread of its
//! own: a million keys to delete must not keep a heartbeat waiting.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use redoubt_cluster::bus::{Input, Output};
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slots::Slot;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::migration::FAILED_OVER;
use super::{keys, replicate, route, slot_order, slot_stats};
use crate::commands::effects::encode;
use crate::commands::error::CommandError;
use crate::connection::client::Client;
use crate::connection::pause::{self, Purpose};
use crate::connection::pubsub::Kind;
use crate::connection::serve::{answer, session_of};
use crate::keyspace::stripe::StripeSet;
use crate::resp::reply::ReplyBuffer;
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
    /// Somebody waits until all before it have been carried out.
    Told(oneshot::Sender<()>),
}

/// That everything has happened which a command brings about elsewhere.
#[derive(Debug, Default)]
pub struct Outcome(Vec<(oneshot::Receiver<()>, Option<Instant>)>);

impl Outcome {
    /// Adds something that is told, and waited for no longer than `patience`, if
    /// there is one.
    pub fn add(&mut self, told: oneshot::Receiver<()>, patience: Option<Duration>) {
        self.0
            .push((told, patience.map(|time| Instant::now() + time)));
    }

    /// Waits for it; false if the client is to go before.
    pub async fn comes(&mut self, client: &Client) -> bool {
        while let Some((told, until)) = self.0.last_mut() {
            if client.killed.load(Ordering::Acquire) {
                return false;
            }
            let over = until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                _ = told => drop(self.0.pop()),
                () = sleep_until(over), if until.is_some() => drop(self.0.pop()),
                () = client.bell.rung() => {}
            }
        }
        true
    }
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

/// Holds back writes for a manual failover, and tells the bus from which
/// offset on: once all stripes were had, since a write that gets one later looks
/// at the pause again.
fn pause_writes(server: &'static Server, until_ms: u64) {
    pause::begin(
        server,
        Purpose::ManualFailover,
        until_ms as i64,
        true,
        unix_ms(),
    );
    let held = server.keyspace.lock(StripeSet::ALL);
    let offset = super::replicate::status(server).offset;
    drop(held);
    if let Some(cluster) = &server.cluster {
        cluster.handle(Input::WritesPaused { offset });
    }
}

/// Deletes the keys of slots that have left, on a thread of its own: there may
/// be millions.
fn delete_keys(server: &'static Server, slots: Vec<Slot>) {
    let ended = |slots: &[Slot]| {
        if let Some(cluster) = &server.cluster {
            cluster.migrations.has_deleted(slots);
        }
    };
    let all = slots.clone();
    let delete = move || {
        keys::delete_foreign(server, &slots);
        ended(&slots);
    };
    let thread = std::thread::Builder::new().name("slot-delete".into());
    if let Err(error) = thread.spawn(delete) {
        tracing::error!("The keys of slots that have left stay for now: {error}");
        ended(&all);
    }
}

/// Sends clients that wait for keys of slots that are another node's by now
/// to that node.
fn redirect_waiting(server: &'static Server) {
    if server.cluster.is_none() || server.blocked.clients() == 0 {
        return;
    }
    for client in server.clients.all() {
        let Some(waiter) = client.waiter.lock().clone() else {
            continue;
        };
        let session = session_of(&waiter);
        let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
        let Err(error) = route::check(server, &session, waiter.command, &args, None) else {
            continue;
        };
        // A script that was set aside goes on, and answers by itself.
        if error == CommandError::Paused || !waiter.interrupt() {
            continue;
        }
        let mut reply = ReplyBuffer::new(client.protocol());
        reply.error(&error.to_string());
        answer(server, &waiter, &reply.buf);
    }
}

/// Clients that wait for keys, or listen to shard channels, of slots that are
/// another node's now are told so.
fn follow_slots(server: &'static Server) {
    redirect_waiting(server);
    if let Some(cluster) = &server.cluster
        && server.pubsub.len(Kind::Shard) != 0
    {
        let ours = cluster.read(|bus| {
            let shard = bus.table().get(bus.shard_primary());
            shard.map(|node| node.slots.clone()).unwrap_or_default()
        });
        let gone = |channel: &[u8]| !ours.contains(Slot::of_key(channel));
        let limit = &server.settings.pubsub_output_limit;
        server.pubsub.revoke(gone, limit);
    }
}

/// How long a new primary waits before it drops what its predecessor was
/// importing: it may yet hear that those slots had become its own.
const AFTER_PROMOTION: Duration = Duration::from_secs(2);

/// Tells a primary of before, if that is Valkey, what became of its imports: it
/// heeds the end of one only in our stream, and hides the keys until then.
fn end_imports(server: &Server) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    for (name, slots) in cluster.migrations.take_followed() {
        let (state, message) = match cluster.read(|bus| bus.owns_all(&slots)) {
            true => ("SUCCESS", ""),
            false => ("FAILED", FAILED_OVER),
        };
        let words = [
            "CLUSTER",
            "SYNCSLOTS",
            "FINISH",
            "STATE",
            state,
            "NAME",
            name.as_str(),
            "MESSAGE",
            message,
        ];
        let mut bytes = Vec::new();
        encode(&mut bytes, &words.map(str::as_bytes));
        slot_order::announce(server, &bytes, false);
    }
}

/// Leads the shard; what the primary before was importing is of no use.
fn lead(server: &'static Server) {
    replicate::lead(server);
    end_imports(server);
    let thread = std::thread::Builder::new().name("slot-delete".into());
    let spawned = thread.spawn(move || {
        std::thread::sleep(AFTER_PROMOTION);
        keys::drop_unclaimed(server);
    });
    if let Err(error) = spawned {
        tracing::error!("Keys of others' slots may be left: {error}");
    }
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
            Effect::BecomePrimary => lead(server),
            Effect::PauseWrites(Some(until_ms)) => pause_writes(server, until_ms),
            Effect::PauseWrites(None) => pause::end(server, Purpose::ManualFailover),
            Effect::DeleteKeys(slots) => delete_keys(server, slots),
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
                let receivers = server.pubsub.publish(kind, &channel, &payload, limit);
                if sharded && receivers != 0 {
                    slot_stats::note_delivered(server, &channel, &payload, receivers);
                }
            }
            Effect::Changed => follow_slots(server),
            Effect::Told(waits) => {
                // Unless the client is gone.
                let _ = waits.send(());
            }
        }
    }
}
