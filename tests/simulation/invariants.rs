//! What must hold at every step, whatever the faults.

use std::collections::BTreeMap;

use redoubt_cluster::bus::Bus;
use redoubt_cluster::flags::Flags;
use redoubt_cluster::identity::{Epoch, NodeId};
use redoubt_cluster::slot_set::SlotSet;
use redoubt_cluster::table::Node;

/// What was seen so far.
#[derive(Default)]
pub struct Invariants {
    /// For whom each node voted in each epoch.
    votes: BTreeMap<(NodeId, Epoch), NodeId>,
    /// The greatest epochs each node has shown: current, last vote, own config.
    epochs: BTreeMap<NodeId, [Epoch; 3]>,
    /// Who claimed what under each config epoch.
    claims: BTreeMap<Epoch, Vec<(NodeId, SlotSet)>>,
    /// The versions of the views that were looked at.
    versions: BTreeMap<NodeId, (u64, Epoch)>,
    /// Replicas that became primaries by vote or order.
    pub promotions: u64,
}

impl Invariants {
    /// How many votes were given.
    pub fn votes(&self) -> u64 {
        self.votes.len() as u64
    }

    /// A node sent its vote to a candidate.
    pub fn voted(&mut self, voter: NodeId, epoch: Epoch, candidate: NodeId) -> Result<(), String> {
        let before = *self.votes.entry((voter, epoch)).or_insert(candidate);
        match before == candidate {
            true => Ok(()),
            false => Err(format!(
                "{voter:?} voted twice in epoch {epoch}: for {before:?} and {candidate:?}"
            )),
        }
    }

    /// A node took over under its config epoch: a majority must have voted for
    /// it in that epoch.
    pub fn took_over(&mut self, bus: &Bus) -> Result<(), String> {
        self.promotions += 1;
        let (id, epoch) = (bus.me().id, bus.me().config_epoch);
        let given = |((_, at), whom): &(&(NodeId, Epoch), &NodeId)| *at == epoch && **whom == id;
        let votes = self.votes.iter().filter(given).count();
        match votes > bus.size() / 2 {
            true => Ok(()),
            false => Err(format!(
                "{id:?} took over in epoch {epoch} with {votes} votes"
            )),
        }
    }

    /// A node's epochs after a step.
    pub fn epochs(&mut self, bus: &Bus) -> Result<(), String> {
        let me = bus.me();
        let own = match me.is(Flags::PRIMARY) {
            true => me.config_epoch,
            false => Epoch(0),
        };
        let now = [bus.current_epoch(), bus.last_vote_epoch(), own];
        let names = ["current", "last vote", "config"];
        let seen = self.epochs.entry(me.id).or_default();
        for at in 0..3 {
            if now[at] < seen[at] && (at < 2 || own != Epoch(0)) {
                return Err(format!(
                    "the {} epoch of {:?} went from {} to {}",
                    names[at], me.id, seen[at], now[at]
                ));
            }
            seen[at] = seen[at].max(now[at]);
        }
        Ok(())
    }

    /// What a node claims after a change.
    pub fn claims(&mut self, bus: &Bus) -> Result<(), String> {
        let me = bus.me();
        let version = (bus.version(), me.config_epoch);
        if !me.votes()
            || me.config_epoch == Epoch(0)
            || self.versions.insert(me.id, version) == Some(version)
        {
            return Ok(());
        }
        let all = self.claims.entry(me.config_epoch).or_default();
        for (other, slots) in all.iter().filter(|(other, _)| *other != me.id) {
            if let Some(slot) = me.slots.iter().find(|slot| slots.contains(*slot)) {
                return Err(format!(
                    "slot {} belongs to {other:?} and {:?} in config epoch {}",
                    slot.number(),
                    me.id,
                    me.config_epoch
                ));
            }
        }
        match all.iter_mut().find(|(other, _)| *other == me.id) {
            Some((_, slots)) => slots.clone_from(&me.slots),
            None => all.push((me.id, me.slots.clone())),
        }
        Ok(())
    }
}

/// Whether every node finds the cluster up, and each slot's owner alive.
pub fn is_served(buses: &[&Bus]) -> bool {
    let alive = |id: NodeId| buses.iter().any(|bus| bus.me().id == id);
    buses.iter().all(|bus| {
        let owners = bus.table().iter().filter(|(_, node)| node.votes());
        bus.is_healthy() && owners.map(|(_, node)| node.id).all(alive)
    })
}

/// The owners of slots in a node's view, by name, with their slots.
fn owners(bus: &Bus) -> BTreeMap<NodeId, &SlotSet> {
    let owners = bus.table().iter().filter(|(_, node)| node.slot_count > 0);
    owners.map(|(_, node)| (node.id, &node.slots)).collect()
}

/// Who has how many slots in which config epoch, in a node's view.
fn shares(bus: &Bus) -> String {
    let owners = bus.table().iter().filter(|(_, node)| node.slot_count > 0);
    let share = |(_, node): (_, &Node)| {
        format!("{:?} {} in {}", node.id, node.slot_count, node.config_epoch)
    };
    owners.map(share).collect::<Vec<_>>().join(", ")
}

/// Whether all nodes agree and all slots are served; else what is amiss.
pub fn at_rest(buses: &[&Bus]) -> Result<(), String> {
    let Some(first) = buses.first() else {
        return Ok(());
    };
    let expected = owners(first);
    for bus in buses {
        let id = bus.me().id;
        if !bus.is_healthy() {
            return Err(format!("{id:?} thinks the cluster down"));
        }
        if bus.table().len() != buses.len() {
            return Err(format!("{id:?} knows {} nodes", bus.table().len()));
        }
        let failing = bus
            .table()
            .iter()
            .find(|(_, node)| node.is(Flags::FAIL | Flags::PFAIL | Flags::HANDSHAKE));
        if let Some((_, node)) = failing {
            return Err(format!("{id:?} holds {:?} for {}", node.id, node.flags));
        }
        if owners(bus) != expected {
            return Err(format!(
                "{:?} and {id:?} disagree on slots: {} against {}",
                first.me().id,
                shares(first),
                shares(bus)
            ));
        }
        if expected.contains_key(&id) && !bus.me().is(Flags::PRIMARY) {
            return Err(format!(
                "the slots of {id:?} are not served: it is a replica"
            ));
        }
    }
    Ok(())
}
