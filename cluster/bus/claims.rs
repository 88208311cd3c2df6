//! Who serves which slot: a primary claims its slots with its config epoch,
//! and the greater epoch wins. Two primaries with the same epoch part: the one
//! with the smaller name draws a new one.

use super::{Bus, Dirty, Output};
use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::message::{Body, Header};
use crate::slot_set::{SlotSet, all_slots};
use crate::slots::Slot;
use crate::table::NodeKey;

/// What became of this shard's slots while claims were taken over.
#[derive(Default)]
struct Losses {
    /// Slots that were this shard's.
    lost: usize,
    /// Slots that were this node's own.
    mine: Vec<Slot>,
}

impl Bus {
    /// Takes in which slots a primary claims, and corrects it if it is behind.
    pub(super) fn learn_slots(&mut self, sender: NodeKey, header: &Header, was_replica: bool) {
        let same = self
            .node(sender)
            .is_some_and(|node| node.slots == header.slots);
        if same && !was_replica {
            if !self.table.unclaimed.is_empty() {
                header.slots.iter().for_each(|slot| {
                    self.table.unclaimed.remove(slot);
                });
            }
            return;
        }
        self.take_claims(sender, header.config_epoch, &header.slots);
        let newer = header.slots.iter().find_map(|slot| {
            let owner = self.table.owner(slot).filter(|owner| *owner != sender)?;
            let epoch = self.node(owner)?.config_epoch;
            (epoch > header.config_epoch).then_some(owner)
        });
        if let Some(owner) = newer {
            self.send_update(sender, owner);
        }
    }

    /// Tells a node what another serves.
    fn send_update(&mut self, to: NodeKey, about: NodeKey) {
        let Some(node) = self.node(about) else { return };
        let mut slots = node.slots.clone();
        for slot in node.slots.iter() {
            if self.table.unclaimed.contains(slot) {
                slots.remove(slot);
            }
        }
        let body = Body::Update {
            id: node.id,
            config_epoch: node.config_epoch,
            slots,
        };
        self.send_to(to, body);
    }

    /// A known node tells what a third one serves.
    pub(super) fn told_config(&mut self, id: &NodeId, epoch: Epoch, slots: &SlotSet) {
        let Some(key) = self.table.find(id).filter(|key| *key != self.myself) else {
            return;
        };
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if node.config_epoch >= epoch || node.is(Flags::HANDSHAKE) {
            return;
        }
        node.config_epoch = epoch;
        if node.is(Flags::REPLICA) {
            self.turn_primary(key);
        }
        self.changed(self.learned_of(key));
        self.take_claims(key, epoch, slots);
    }

    /// Gives a primary the slots that it claims under `epoch`, where nobody
    /// has them under a greater or the same one, or whoever has them does not
    /// claim them any more.
    fn take_claims(&mut self, claimer: NodeKey, epoch: Epoch, slots: &SlotSet) {
        if claimer == self.myself {
            return;
        }
        let my_primary = self.shard_primary();
        let same_shard = self.same_shard(claimer, self.myself);
        let mut losses = Losses::default();
        for slot in all_slots() {
            if slots.contains(slot) {
                self.take_claim(claimer, epoch, slot, my_primary, &mut losses);
            } else {
                self.miss_claim(claimer, epoch, slot);
            }
        }
        let (i_serve, claimed) = (self.me().slot_count, slots.len());
        let my_epoch = self.node(my_primary).map_or(Epoch(0), |n| n.config_epoch);
        let successor = losses.lost > 0
            || (self.me().primary != Some(claimer)
                && claimed == 0
                && i_serve == 0
                && self
                    .node(my_primary)
                    .is_some_and(|node| node.slot_count == 0)
                && my_epoch < epoch
                && same_shard);
        let shard_empty = self
            .node(my_primary)
            .is_none_or(|node| node.slot_count == 0);
        if successor && shard_empty && (self.options.allow_replica_migration || same_shard) {
            return self.become_replica_of(claimer, !same_shard, !same_shard);
        }
        if losses.lost > 0 && i_serve == 0 {
            self.note_emptiness();
        }
        if !losses.mine.is_empty() {
            // Before they hear that writes are held back, over the same
            // connection: who takes over must not claim these slots.
            let replicas: Vec<NodeKey> = self
                .table
                .replicas(self.myself)
                .map(|(key, _)| key)
                .collect();
            for replica in replicas {
                self.send_update(replica, claimer);
            }
            self.emit(Output::DeleteKeys(losses.mine));
        }
    }

    /// A primary has lost its last slot and stays one.
    pub(super) fn note_emptiness(&mut self) {
        if self.me().is(Flags::PRIMARY) {
            self.note("I am now an empty primary");
        }
    }

    fn take_claim(
        &mut self,
        claimer: NodeKey,
        epoch: Epoch,
        slot: Slot,
        my_primary: NodeKey,
        losses: &mut Losses,
    ) {
        let owner = self.table.owner(slot);
        if owner == Some(claimer) {
            self.table.unclaimed.remove(slot);
            return;
        }
        let is_unclaimed = self.table.unclaimed.contains(slot);
        let has_owner = self.table.owner_epoch(slot).is_some_and(|has| has >= epoch);
        if has_owner && !is_unclaimed {
            return;
        }
        if owner == Some(self.myself) {
            losses.mine.push(slot);
        }
        if owner == Some(my_primary) {
            losses.lost += 1;
        }
        let same_shard = self.same_shard(claimer, self.myself);
        if !same_shard {
            self.table.migrating.remove(&slot);
        }
        if let Some(source) = self.table.importing.get(&slot).copied()
            && source != claimer
        {
            match self.same_shard(claimer, source) {
                true => self.table.importing.insert(slot, claimer),
                false => self.table.importing.remove(&slot),
            };
        }
        self.table.assign(slot, claimer);
        self.changed(match owner == Some(my_primary) {
            true => Dirty::Sync,
            false => self.learned_of(claimer),
        });
    }

    /// A primary does not claim this slot.
    fn miss_claim(&mut self, claimer: NodeKey, epoch: Epoch, slot: Slot) {
        if self.table.owner(slot) == Some(claimer) {
            self.table.unclaimed.insert(slot);
        }
        if let Some(target) = self.table.migrating.get(&slot).copied() {
            let replaced = self
                .node(target)
                .is_some_and(|node| node.config_epoch < epoch || node.is(Flags::REPLICA));
            if target != claimer && replaced && self.same_shard(target, claimer) {
                self.table.migrating.insert(slot, claimer);
                self.changed(Dirty::Sync);
            }
        }
        // The source has given the slot away while this node was to take it.
        if self.i_am_primary() && self.table.importing.get(&slot) == Some(&claimer) {
            self.table.importing.remove(&slot);
            if self.table.owner(slot) == Some(claimer) || self.table.owner(slot).is_none() {
                self.table.assign(slot, self.myself);
                self.bump_epoch();
            }
            self.changed(Dirty::Sync);
        }
    }

    /// Draws a new config epoch without asking anyone, unless this node has
    /// the greatest already.
    pub(super) fn bump_epoch(&mut self) -> bool {
        let greatest = self.table.max_epoch().max(self.current_epoch);
        let mine = self.me().config_epoch;
        if mine != Epoch(0) && mine == greatest {
            return false;
        }
        self.draw_epoch();
        true
    }

    pub(super) fn draw_epoch(&mut self) {
        self.current_epoch = self.current_epoch.max(self.table.max_epoch()).next();
        self.me_mut().config_epoch = self.current_epoch;
        self.note(format!("My config epoch is {} now", self.current_epoch));
        self.changed(Dirty::Sync);
    }

    /// Parts from a primary with the same config epoch.
    pub(super) fn settle_collision(&mut self, sender: NodeKey, epoch: Epoch, slots: &SlotSet) {
        let mine = self.me();
        let Some(other) = self.node(sender) else {
            return;
        };
        let collides = mine.is(Flags::PRIMARY)
            && other.is(Flags::PRIMARY)
            && other.config_epoch == mine.config_epoch
            && epoch == mine.config_epoch;
        // Who slept may have been replaced: that comes first.
        let draws = mine.id < other.id && self.is_up_to_date();
        if collides {
            self.yield_taken(sender, slots);
        }
        if collides && draws {
            self.draw_epoch();
            self.tell_everyone();
        }
    }

    /// Gives up slots that a node of another shard claims under the epoch in
    /// which this one was elected. No other was elected in it, so that one was
    /// given those slots by this node's predecessor, and has what was written
    /// to them since.
    fn yield_taken(&mut self, claimer: NodeKey, slots: &SlotSet) {
        let elected = self.elected == Some(self.me().config_epoch);
        if !elected || self.same_shard(claimer, self.myself) {
            return;
        }
        let both = slots.iter().filter(|slot| self.me().slots.contains(*slot));
        let both: Vec<Slot> = both.collect();
        if both.is_empty() {
            return;
        }
        for slot in &both {
            self.table.assign(*slot, claimer);
        }
        self.note(format!("{} slots had been given away before", both.len()));
        self.changed(Dirty::Sync);
        self.emit(Output::DeleteKeys(both));
    }

    pub(super) fn same_shard(&self, one: NodeKey, other: NodeKey) -> bool {
        match (self.node(one), self.node(other)) {
            (Some(one), Some(other)) => one.shard == other.shard,
            _ => false,
        }
    }
}
