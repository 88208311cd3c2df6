//! CLUSTER SETSLOT: how a slot stands while it moves by hand, and who serves
//! it then. A primary has its replicas take a state over before it does so
//! itself, so that no failover loses it.

use super::admin::Refusal;
use super::{Bus, Dirty};
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::slots::Slot;
use crate::table::NodeKey;

/// What SETSLOT says of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// This node gives it, bit by bit, to another.
    Migrating,
    /// This node takes it, bit by bit, from another.
    Importing,
    /// It does not move.
    Stable,
    /// It is a node's.
    Node,
}

impl Bus {
    /// Whether a slot may be set so by an operator, with the node `id` unless
    /// it is to be stable. `has_keys`: this node holds keys of the slot.
    pub fn may_set_slot(
        &self,
        slot: Slot,
        state: SlotState,
        id: &str,
        has_keys: bool,
    ) -> Result<(), Refusal> {
        if !self.i_am_primary() {
            return Err(Refusal::SetSlotOnReplica);
        }
        let mine = self.table.owner(slot) == Some(self.myself);
        let unknown = match state {
            SlotState::Stable => return Ok(()),
            SlotState::Migrating if !mine => return Err(Refusal::NotOwner(slot.number())),
            SlotState::Importing if mine => return Err(Refusal::AlreadyOwner(slot.number())),
            SlotState::Migrating | SlotState::Importing => Refusal::IDontKnow,
            SlotState::Node => Refusal::UnknownNode,
        };
        let key = self.known(id).ok_or_else(|| unknown(id.into()))?;
        if self.node_is(key, Flags::REPLICA) {
            return Err(Refusal::TargetNotPrimary);
        }
        if state != SlotState::Node && key == self.myself {
            return Err(Refusal::TargetIsMyself);
        }
        if state == SlotState::Node && mine && key != self.myself && has_keys {
            return Err(Refusal::KeysRemain(slot.number()));
        }
        Ok(())
    }

    /// Sets a slot as an operator wants it.
    pub fn set_slot(
        &mut self,
        slot: Slot,
        state: SlotState,
        id: &str,
        has_keys: bool,
    ) -> Result<(), Refusal> {
        self.may_set_slot(slot, state, id, has_keys)?;
        self.put_slot(slot, state, self.known(id), has_keys);
        Ok(())
    }

    /// Sets a slot as this node's primary is about to. What this node can't
    /// make sense of yet stays as it is.
    pub fn mirror_slot(&mut self, slot: Slot, state: SlotState, id: &str, has_keys: bool) {
        let key = self.known(id);
        if self.i_am_primary() || (state != SlotState::Stable && key.is_none()) {
            return;
        }
        self.put_slot(slot, state, key, has_keys);
    }

    fn put_slot(&mut self, slot: Slot, state: SlotState, key: Option<NodeKey>, has_keys: bool) {
        match (state, key) {
            (SlotState::Migrating, Some(key)) => {
                self.table.migrating.insert(slot, key);
            }
            (SlotState::Importing, Some(key)) => {
                self.table.importing.insert(slot, key);
            }
            (SlotState::Node, Some(key)) => return self.give_slot(slot, key, has_keys),
            (SlotState::Stable, _) => {
                self.table.importing.remove(&slot);
                self.table.migrating.remove(&slot);
            }
            _ => {}
        }
        self.changed(Dirty::Sync);
    }

    fn give_slot(&mut self, slot: Slot, key: NodeKey, has_keys: bool) {
        let shard = self.shard_primary();
        let was_ours = self.table.owner(slot) == Some(shard);
        if !has_keys {
            self.table.migrating.remove(&slot);
        }
        self.table.assign(slot, key);
        // Of what others give each other everybody is told again.
        self.changed(match was_ours || key == shard {
            true => Dirty::Sync,
            false => Dirty::Learned,
        });
        let left = self.node(shard).map_or(0, |node| node.slot_count);
        if was_ours && key != shard && left == 0 {
            match self.options.allow_replica_migration {
                true => self.become_replica_of(key, true, true),
                false => self.note_emptiness(),
            }
        }
        if key != shard || self.table.importing.remove(&slot).is_none() {
            return;
        }
        // Replicas leave it to their primary to tell everybody.
        if key == self.myself {
            self.bump_epoch();
            self.tell_everyone();
        }
    }

    /// The slots that move by hand, as a full sync tells of them: `slot>id,` for
    /// one that leaves, `slot<id,` for one that comes.
    pub fn open_slots(&self) -> String {
        let mut text = String::new();
        for (open, arrow) in [(&self.table.importing, '<'), (&self.table.migrating, '>')] {
            for (slot, key) in open {
                if let Some(node) = self.node(*key) {
                    text.push_str(&format!("{}{arrow}{},", slot.number(), node.id));
                }
            }
        }
        text
    }

    /// Takes over what a full sync told of the primary's [`Bus::open_slots`];
    /// all of it or nothing. False if it makes no sense.
    pub fn inherit_open_slots(&mut self, text: &[u8]) -> bool {
        let mut moves = Vec::new();
        for part in text.split(|byte| *byte == b',').filter(|p| !p.is_empty()) {
            let arrow = part.iter().position(|byte| matches!(byte, b'<' | b'>'));
            let Some(at) = arrow else { return false };
            let number = std::str::from_utf8(&part[..at]).ok();
            let number = number.and_then(|digits| digits.parse().ok());
            let (slot, id) = (number.and_then(Slot::new), NodeId::parse(&part[at + 1..]));
            let (Some(slot), Some(id)) = (slot, id) else {
                return false;
            };
            moves.push((slot, part[at] == b'<', id));
        }
        if self.i_am_primary() {
            return true;
        }
        for (slot, importing, id) in moves {
            // One that this node has not heard of yet is left out: gossip
            // would not find its address by the name alone.
            let Some(key) = self.table.find(&id) else {
                continue;
            };
            match importing {
                true => self.table.importing.insert(slot, key),
                false => self.table.migrating.insert(slot, key),
            };
        }
        self.changed(Dirty::Sync);
        true
    }
}
