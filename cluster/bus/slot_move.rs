//! Slots that change hands by atomic migration: who may give and take them,
//! the claim, and how a source takes back what a target never claimed.

use std::fmt;

use super::{Bus, Inquiry};
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::slot_set::SlotSet;
use crate::table::NodeKey;

/// Why slots can't move. `Display` is what clients see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MoveRefusal {
    NotPrimary,
    BadName(String),
    UnknownNode(String),
    Myself,
    TargetNotPrimary,
    NotMine,
    SeveralShards,
    Manual,
    NotSources,
    HandsOver,
}

impl fmt::Display for MoveRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MoveRefusal::NotPrimary => {
                f.write_str("Slot migration can only be used on primary nodes.")
            }
            MoveRefusal::BadName(name) => write!(f, "Invalid node name: {name}"),
            MoveRefusal::UnknownNode(name) => write!(f, "Unknown node name: {name}"),
            MoveRefusal::Myself => f.write_str("Target node can not be this node."),
            MoveRefusal::TargetNotPrimary => f.write_str("Target node is not a primary."),
            MoveRefusal::NotMine => f.write_str("Slots are not served by this node."),
            MoveRefusal::SeveralShards => f.write_str("Requested slots span multiple shards"),
            MoveRefusal::Manual => f.write_str("Slots are being manually migrated"),
            MoveRefusal::NotSources => {
                f.write_str("The source node does not serve all of these slots.")
            }
            MoveRefusal::HandsOver => {
                f.write_str("A failover is under way: a replica is about to take over.")
            }
        }
    }
}

impl Bus {
    /// The node that slots are to be given to.
    pub fn move_target(&self, name: &str) -> Result<NodeId, MoveRefusal> {
        let bad = || MoveRefusal::BadName(name.into());
        let id = NodeId::parse(name.as_bytes()).ok_or_else(bad)?;
        let unknown = || MoveRefusal::UnknownNode(name.into());
        let key = self.table.find(&id).ok_or_else(unknown)?;
        if key == self.myself {
            return Err(MoveRefusal::Myself);
        }
        match self.node_is(key, Flags::REPLICA) {
            true => Err(MoveRefusal::TargetNotPrimary),
            false => Ok(id),
        }
    }

    /// Whether this node may give these slots away.
    pub fn may_export(&self, slots: &SlotSet) -> Result<(), MoveRefusal> {
        if !self.i_am_primary() {
            return Err(MoveRefusal::NotPrimary);
        }
        let mut owners = slots.iter().map(|slot| self.table.owner(slot));
        let first = owners.next().flatten();
        if owners.any(|owner| owner != first) {
            return Err(MoveRefusal::SeveralShards);
        }
        if first != Some(self.myself) {
            return Err(MoveRefusal::NotMine);
        }
        self.not_by_hand(slots)
    }

    /// Whether this node may take these slots from that one. Not while a
    /// replica may take over: it would have neither the claim nor all keys.
    pub fn may_import(&self, source: &NodeId, slots: &SlotSet) -> Result<(), MoveRefusal> {
        if !self.i_am_primary() {
            return Err(MoveRefusal::NotPrimary);
        }
        let unknown = || MoveRefusal::UnknownNode(source.to_string());
        let source = self.table.find(source).ok_or_else(unknown)?;
        if !self.all_owned_by(slots, source) || source == self.myself {
            return Err(MoveRefusal::NotSources);
        }
        if self.hands_over() {
            return Err(MoveRefusal::HandsOver);
        }
        self.not_by_hand(slots)
    }

    fn not_by_hand(&self, slots: &SlotSet) -> Result<(), MoveRefusal> {
        let by_hand = slots.iter().any(|slot| {
            self.table.migrating.contains_key(&slot) || self.table.importing.contains_key(&slot)
        });
        match by_hand {
            true => Err(MoveRefusal::Manual),
            false => Ok(()),
        }
    }

    fn all_owned_by(&self, slots: &SlotSet, key: NodeKey) -> bool {
        slots.iter().all(|slot| self.table.owner(slot) == Some(key))
    }

    /// Whether all these slots are this node's.
    pub fn owns_all(&self, slots: &SlotSet) -> bool {
        self.i_am_primary() && self.all_owned_by(slots, self.myself)
    }

    /// Notes that slots are about to be granted to another node, unless a
    /// replica may take over. Until [`Bus::end_grant`] none may.
    pub fn grant(&mut self, slots: &SlotSet) -> Result<(), MoveRefusal> {
        if !self.owns_all(slots) {
            return Err(MoveRefusal::NotMine);
        }
        if self.hands_over() {
            return Err(MoveRefusal::HandsOver);
        }
        self.note_grant();
        Ok(())
    }

    /// Claims slots that their owner has granted to this node, under a new
    /// config epoch, and tells everybody. That epoch is not the next one: under
    /// that a replica of the source may be standing for election just now, with
    /// all slots that the source had.
    pub fn claim_granted(&mut self, source: &NodeId, slots: &SlotSet) -> Result<(), MoveRefusal> {
        self.may_import(source, slots)?;
        for slot in slots.iter() {
            self.table.assign(slot, self.myself);
        }
        self.draw_epoch();
        self.draw_epoch();
        self.note(format!("{} slots were imported", slots.len()));
        self.tell_everyone();
        Ok(())
    }

    /// Keeps slots that were granted to a node that has failed, or that the
    /// operator has given up, if it never claimed them as far as a majority
    /// knows that has answered just now; false as long as that is not so. The
    /// new config epoch is greater than the one that the node may have drawn, so
    /// that a claim that comes to light later is void.
    pub fn keep_granted(&mut self, target: &NodeId, inquiry: &mut Inquiry) -> bool {
        let target = self.table.find(target);
        let is_gone = target.is_none_or(|key| self.node_is(key, Flags::FAIL));
        let knows = self.inquire(inquiry);
        if !knows || !is_gone || !self.i_am_primary() || !self.is_healthy() {
            return false;
        }
        for _ in 0..3 {
            self.draw_epoch();
        }
        self.note("Slots that were granted to another node were not taken, and are kept");
        self.tell_everyone();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Options, Output};
    use crate::identity::Epoch;
    use crate::slots::Slot;
    use crate::table::Node;

    fn bus_with_source() -> (Bus, NodeId, SlotSet) {
        let mut bus = Bus::new(Options::default(), None, 1, 1000).expect("it starts");
        let id = NodeId::random(&mut crate::random::Random::new(5));
        let mut node = Node::new(id, id, Flags::PRIMARY, 1000);
        node.config_epoch = Epoch(7);
        let source = bus.table.add(node);
        let slots: SlotSet = (10..20).filter_map(Slot::new).collect();
        for slot in slots.iter() {
            bus.table.assign(slot, source);
        }
        (bus, id, slots)
    }

    #[test]
    fn granted_slots_are_claimed_under_the_greatest_epoch_and_on_disk_first() {
        let (mut bus, id, slots) = bus_with_source();
        while bus.poll_output().is_some() {}
        bus.order(1001, |bus| bus.claim_granted(&id, &slots))
            .expect("they are claimed");
        assert!(bus.owns_all(&slots));
        assert_eq!(bus.me().config_epoch, Epoch(9));
        assert!(matches!(
            bus.poll_output(),
            Some(Output::Persist { sync: true, .. })
        ));
    }

    #[test]
    fn slots_that_left_the_source_meanwhile_are_not_claimed() {
        let (mut bus, id, slots) = bus_with_source();
        let other = NodeId::random(&mut crate::random::Random::new(6));
        let other = bus.table.add(Node::new(other, other, Flags::PRIMARY, 0));
        bus.table.assign(Slot::new(12).expect("a slot"), other);
        let refused = bus.order(1001, |bus| bus.claim_granted(&id, &slots));
        assert_eq!(refused, Err(MoveRefusal::NotSources));
        assert!(!bus.owns_all(&slots));
    }

    #[test]
    fn who_keeps_granted_slots_outdoes_the_epoch_of_a_claim() {
        let (mut bus, _, _) = bus_with_source();
        let (mut target, id, slots) = bus_with_source();
        let claimed = target.order(1001, |bus| bus.claim_granted(&id, &slots));
        claimed.expect("they are claimed");
        let gone = NodeId::random(&mut crate::random::Random::new(6));
        let mut inquiry = Inquiry::default();
        bus.options.require_full_coverage = false;
        for slot in slots.iter() {
            bus.table.assign(slot, bus.myself);
        }
        bus.order(4000, |bus| bus.state_may_change = true);
        let kept: Vec<bool> = (4001..4004)
            .map(|at| bus.order(at, |bus| bus.keep_granted(&gone, &mut inquiry)))
            .collect();
        assert_eq!(kept, [false, false, true]);
        assert!(bus.me().config_epoch > target.me().config_epoch);
    }
}
