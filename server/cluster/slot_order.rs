//! CLUSTER SETSLOT between a primary and its replicas: the primary puts the
//! order into its log, waits for them to have it, and carries it out then.

use redoubt_cluster::bus::SlotState;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slots::Slot;

use super::keys;
use crate::commands::effects::encode;
use crate::commands::error::CommandError;
use crate::connection::dispatch::reply_error;
use crate::keyspace::db::Db;
use crate::keyspace::stripe::StripeSet;
use crate::replication::replicas::Acks;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// The error of a replica; redis-cli takes it from a node that has become one
/// by handing on its last slot.
pub const SETSLOT_ON_REPLICA: &str = "Please use SETSLOT only with masters.";

/// An order that waits for replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotOrder {
    /// What they have to acknowledge.
    pub acks: Acks,
    /// The slot.
    pub slot: Slot,
    /// What it is to be.
    pub state: SlotState,
    /// The other node.
    pub node: Option<NodeId>,
}

impl SlotOrder {
    /// Carries it out if the replicas have it; the wait is over in any case.
    pub fn conclude(self, reply: &mut ReplyBuffer) {
        let server = self.acks.server;
        let id = self.node.map_or(String::new(), |id| id.to_string());
        let outcome = match self.acks.are_enough() {
            true => carry_out(server, None, (self.slot, self.state, &id), true),
            false => Err(CommandError::text(
                "NOREPLICAS Not enough good replicas to write.",
            )),
        };
        if outcome.is_err() {
            self.call_off();
        }
        match outcome {
            Ok(()) => reply.ok(),
            Err(error) => reply_error(server, reply, &error),
        }
    }

    /// Has the replicas, which have the order in their stream and may heed it yet,
    /// set the slot as it is here.
    fn call_off(self) {
        let server = self.acks.server;
        let Some(cluster) = &server.cluster else {
            return;
        };
        let stands = cluster.read(|bus| {
            let table = bus.table();
            let name = |key| table.get(key).map(|node| node.id.to_string());
            let state = |word: &'static str, key| Some((word, name(key?)?));
            let owner = table
                .owner(self.slot)
                .filter(|_| self.state == SlotState::Node);
            let migrating = table.migrating.get(&self.slot).copied();
            let importing = table.importing.get(&self.slot).copied();
            [
                state("NODE", owner),
                Some(("STABLE", String::new())),
                state("MIGRATING", migrating),
                state("IMPORTING", importing),
            ]
        });
        let slot = self.slot.number().to_string();
        for (word, id) in stands.into_iter().flatten() {
            let order = ["CLUSTER", "SETSLOT", &slot, word, &id].map(str::as_bytes);
            let words = order.len() - usize::from(id.is_empty());
            let mut bytes = Vec::new();
            encode(&mut bytes, &order[..words]);
            announce(server, &bytes, false);
        }
    }
}

/// What an order says: a slot, what it is to be, and the other node's name.
pub type Order<'a> = (Slot, SlotState, &'a str);

/// Carries an order out, or only tells whether that may be done. `held`: the
/// caller has locked everything.
pub fn carry_out(
    server: &Server,
    held: Option<&mut Db<'_>>,
    (slot, state, id): Order<'_>,
    for_good: bool,
) -> Result<(), CommandError> {
    with_keys(server, held, slot, state, |has_keys| {
        let Some(cluster) = &server.cluster else {
            return Ok(());
        };
        let outcome = match for_good {
            true => cluster.order(|bus| bus.set_slot(slot, state, id, has_keys)),
            false => cluster.read(|bus| bus.may_set_slot(slot, state, id, has_keys)),
        };
        outcome.map_err(CommandError::err)
    })
}

/// Carries out what our primary is about to do.
pub fn mirror(server: &Server, held: Option<&mut Db<'_>>, (slot, state, id): Order<'_>) {
    with_keys(server, held, slot, state, |has_keys| {
        if let Some(cluster) = &server.cluster {
            cluster.order(|bus| bus.mirror_slot(slot, state, id, has_keys));
        }
    });
}

/// Runs `f`, which is told whether the slot holds keys. Nobody may add one
/// between the look and the change.
fn with_keys<T>(
    server: &Server,
    held: Option<&mut Db<'_>>,
    slot: Slot,
    state: SlotState,
    f: impl FnOnce(bool) -> T,
) -> T {
    if state != SlotState::Node {
        return f(false);
    }
    match held {
        Some(db) => f(keys::count_held(db, slot) != 0),
        None => {
            let mut db = keys::hold(server, slot);
            f(keys::count_held(&mut db, slot) != 0)
        }
    }
}

/// Puts an order into the log for the replicas. Returns the log's end behind it.
pub fn announce(server: &Server, bytes: &[u8], holds_all: bool) -> u64 {
    // It belongs to no stripe, so the first stands for all: no change of the
    // role comes in between.
    let held = (!holds_all).then(|| server.keyspace.lock(StripeSet::one(0)));
    let end = server.own_log().map_or(0, |log| log.append_aside(bytes).0);
    drop(held);
    end
}

/// Takes over the slots that move by hand, as a full sync told of them.
pub fn inherit(server: &Server, open_slots: &[u8]) {
    if let Some(cluster) = &server.cluster
        && !open_slots.is_empty()
        && !cluster.order(|bus| bus.inherit_open_slots(open_slots))
    {
        tracing::warn!("What the primary told of slots on the move makes no sense");
    }
}
