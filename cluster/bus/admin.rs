//! Orders of the operator: what CLUSTER's subcommands do to this node. Each
//! checks everything before it changes anything; a refusal is a value whose
//! `Display` is the text that clients see.

use std::fmt;
use std::net::IpAddr;

use super::{Bus, Dirty, Output};
use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::slots::Slot;
use crate::table::{Node, NodeKey};

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refusal {
    BadAddress(String),
    UnknownNode(String),
    IDontKnow(String),
    ForgetMyself,
    ForgetPrimary,
    SlotBusy(u16),
    SlotUnassigned(u16),
    SlotTwice(u16),
    NotOwner(u16),
    AlreadyOwner(u16),
    /// A slot moves from one node to another.
    TargetIsMyself,
    KeysRemain(u16),
    TargetNotPrimary,
    SetSlotOnReplica,
    ReplicateMyself,
    ReplicateReplica,
    NotEmpty,
    FailoverOnPrimary,
    PrimaryUnknown,
    PrimaryDown,
    NodesKnown,
    EpochSet,
    ResetWithKeys,
    NotPrimary,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadAddress(text) => write!(f, "Invalid node address specified: {text}"),
            Refusal::UnknownNode(id) => write!(f, "Unknown node {id}"),
            Refusal::IDontKnow(id) => write!(f, "I don't know about node {id}"),
            Refusal::ForgetMyself => f.write_str("I tried hard but I can't forget myself..."),
            Refusal::ForgetPrimary => f.write_str("Can't forget my master!"),
            Refusal::SlotBusy(slot) => write!(f, "Slot {slot} is already busy"),
            Refusal::SlotUnassigned(slot) => write!(f, "Slot {slot} is already unassigned"),
            Refusal::SlotTwice(slot) => write!(f, "Slot {slot} specified multiple times"),
            Refusal::NotOwner(slot) => write!(f, "I'm not the owner of hash slot {slot}"),
            Refusal::TargetIsMyself => f.write_str("Target node is myself"),
            Refusal::AlreadyOwner(slot) => write!(f, "I'm already the owner of hash slot {slot}"),
            Refusal::KeysRemain(slot) => write!(
                f,
                "Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
            ),
            Refusal::TargetNotPrimary => f.write_str("Target node is not a master"),
            Refusal::SetSlotOnReplica => f.write_str("Please use SETSLOT only with masters."),
            Refusal::ReplicateMyself => f.write_str("Can't replicate myself"),
            Refusal::ReplicateReplica => {
                f.write_str("I can only replicate a master, not a replica.")
            }
            Refusal::NotEmpty => f.write_str(
                "To set a master the node must be empty and without assigned slots.",
            ),
            Refusal::FailoverOnPrimary => {
                f.write_str("You should send CLUSTER FAILOVER to a replica")
            }
            Refusal::PrimaryUnknown => f.write_str("I'm a replica but my master is unknown to me"),
            Refusal::PrimaryDown => {
                f.write_str("Master is down or failed, please use CLUSTER FAILOVER FORCE")
            }
            Refusal::NodesKnown => f.write_str(
                "The user can assign a config epoch only when the node does not know any other node.",
            ),
            Refusal::EpochSet => f.write_str("Node config epoch is already non-zero"),
            Refusal::ResetWithKeys => {
                f.write_str("CLUSTER RESET can't be called with master nodes containing keys")
            }
            Refusal::NotPrimary => f.write_str("The specified node is not a master"),
        }
    }
}

/// How a manual failover goes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failover {
    /// With the primary's help; nothing is lost.
    Default,
    /// Without the primary, with a majority's votes.
    Force,
    /// Without anyone.
    Takeover,
}

impl Bus {
    /// Runs an order at a time and does what follows.
    pub fn order<T>(&mut self, now_ms: u64, order: impl FnOnce(&mut Bus) -> T) -> T {
        self.advance(now_ms);
        let result = order(self);
        self.finish();
        result
    }

    /// CLUSTER MEET.
    pub fn meet(&mut self, ip: &str, port: u16, bus_port: u16) -> Result<(), Refusal> {
        let bad = || Refusal::BadAddress(format!("{ip}:{port}"));
        let ip = ip.parse::<IpAddr>().map_err(|_| bad())?.to_string();
        if port == 0 || bus_port == 0 {
            return Err(bad());
        }
        let same = |node: &Node| {
            node.is(Flags::HANDSHAKE)
                && node.address.ip == ip
                && node.address.port == port
                && node.address.bus_port == bus_port
        };
        if self.table.iter().any(|(_, node)| same(node)) {
            return Ok(());
        }
        let id = NodeId::random(&mut self.random);
        let mut node = Node::new(id, id, Flags::HANDSHAKE | Flags::MEET, self.now_ms);
        node.address.ip = ip;
        node.address.port = port;
        node.address.bus_port = bus_port;
        let key = self.table.add(node);
        self.connect(key);
        Ok(())
    }

    /// CLUSTER FORGET.
    pub fn forget(&mut self, text: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownNode(text.into());
        let id = NodeId::parse(text.as_bytes()).ok_or_else(unknown)?;
        let Some(key) = self.table.find(&id) else {
            // The word may have come by gossip already.
            return match self.is_forgotten(&id) {
                true => Ok(()),
                false => Err(unknown()),
            };
        };
        if key == self.myself {
            return Err(Refusal::ForgetMyself);
        }
        if self.me().primary == Some(key) {
            return Err(Refusal::ForgetPrimary);
        }
        let until_ms = self.now_ms.saturating_add(self.options.blacklist_ttl_ms);
        self.forgotten.insert(id, until_ms);
        self.remember(id);
        self.drop_node(key);
        Ok(())
    }

    /// CLUSTER ADDSLOTS and DELSLOTS.
    pub fn change_slots(&mut self, slots: &[Slot], add: bool) -> Result<(), Refusal> {
        let mut seen = crate::slot_set::SlotSet::default();
        for slot in slots {
            match (add, self.table.owner(*slot)) {
                (true, Some(_)) => return Err(Refusal::SlotBusy(slot.number())),
                (false, None) => return Err(Refusal::SlotUnassigned(slot.number())),
                _ => {}
            }
            if !seen.insert(*slot) {
                return Err(Refusal::SlotTwice(slot.number()));
            }
        }
        for slot in slots {
            if add {
                self.table.importing.remove(slot);
                self.table.assign(*slot, self.myself);
            } else {
                self.table.release(*slot);
            }
        }
        self.changed(Dirty::Sync);
        Ok(())
    }

    /// CLUSTER FLUSHSLOTS.
    pub fn flush_slots(&mut self) {
        self.table.release_all(self.myself);
        self.changed(Dirty::Sync);
    }

    pub(super) fn known(&self, text: &str) -> Option<NodeKey> {
        NodeId::parse(text.as_bytes()).and_then(|id| self.table.find(&id))
    }

    /// CLUSTER BUMPEPOCH. False if this node has the greatest already.
    pub fn bump(&mut self) -> (bool, Epoch) {
        (self.bump_epoch(), self.me().config_epoch)
    }

    /// CLUSTER SET-CONFIG-EPOCH.
    pub fn set_config_epoch(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        if self.table.len() > 1 {
            return Err(Refusal::NodesKnown);
        }
        if self.me().config_epoch != Epoch(0) {
            return Err(Refusal::EpochSet);
        }
        self.me_mut().config_epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
        self.changed(Dirty::Sync);
        Ok(())
    }

    /// CLUSTER REPLICATE. `has_keys`: this node holds any key.
    pub fn replicate(&mut self, id: &str, has_keys: bool) -> Result<(), Refusal> {
        let key = self.known(id).ok_or(Refusal::UnknownNode(id.into()))?;
        if key == self.myself {
            return Err(Refusal::ReplicateMyself);
        }
        if self.node_is(key, Flags::REPLICA) {
            return Err(Refusal::ReplicateReplica);
        }
        if self.i_am_primary() && (self.me().slot_count != 0 || has_keys) {
            return Err(Refusal::NotEmpty);
        }
        if self.me().primary != Some(key) {
            self.become_replica_of(key, true, true);
            self.tell_everyone();
        }
        Ok(())
    }

    /// CLUSTER REPLICATE NO ONE: this replica becomes a primary without slots,
    /// of a shard of its own.
    pub fn replicate_no_one(&mut self) {
        if self.i_am_primary() {
            return;
        }
        self.turn_primary(self.myself);
        let shard = NodeId::random(&mut self.random);
        self.me_mut().shard = shard;
        self.emit(Output::BecomePrimary);
        self.emit(Output::DeleteAll);
        self.changed(Dirty::Sync);
        self.tell_everyone();
    }

    /// CLUSTER FAILOVER.
    pub fn fail_over(&mut self, how: Failover) -> Result<(), Refusal> {
        if self.i_am_primary() {
            return Err(Refusal::FailoverOnPrimary);
        }
        let primary = self.me().primary.ok_or(Refusal::PrimaryUnknown)?;
        let up = self
            .node(primary)
            .is_some_and(|node| !node.is(Flags::FAIL) && node.link.is_some());
        if how == Failover::Default && !up {
            return Err(Refusal::PrimaryDown);
        }
        self.begin_manual(how != Failover::Default);
        if how == Failover::Takeover {
            self.bump_epoch();
            self.replace_primary();
        }
        Ok(())
    }

    /// CLUSTER RESET. `has_keys`: this node holds any key.
    pub fn reset(&mut self, hard: bool, has_keys: bool) -> Result<(), Refusal> {
        if self.i_am_primary() && has_keys {
            return Err(Refusal::ResetWithKeys);
        }
        let shard = NodeId::random(&mut self.random);
        if !self.i_am_primary() {
            self.turn_primary(self.myself);
            // As in Valkey it leaves its shard also by a soft reset.
            self.me_mut().shard = shard;
            self.emit(Output::BecomePrimary);
            self.emit(Output::DeleteAll);
        }
        self.table.migrating.clear();
        self.table.importing.clear();
        self.reset_manual();
        self.election = super::election::Election::default();
        for key in self.table.keys() {
            self.table.release_all(key);
            self.drop_node(key);
        }
        self.forgotten.clear();
        self.known_once.clear();
        if hard {
            self.current_epoch = Epoch(0);
            self.last_vote_epoch = Epoch(0);
            let id = NodeId::random(&mut self.random);
            self.table.rename(self.myself, id);
            let me = self.me_mut();
            me.shard = shard;
            me.config_epoch = Epoch(0);
        }
        self.changed(Dirty::Sync);
        Ok(())
    }

    /// The replicas of a primary, for CLUSTER REPLICAS.
    pub fn replicas_of(&self, id: &str) -> Result<Vec<NodeKey>, Refusal> {
        let key = self.known(id).ok_or(Refusal::UnknownNode(id.into()))?;
        match self.node_is(key, Flags::REPLICA) {
            true => Err(Refusal::NotPrimary),
            false => {
                let mut found: Vec<_> = self.table.replicas(key).collect();
                found.sort_by_key(|(_, node)| node.id);
                Ok(found.into_iter().map(|(key, _)| key).collect())
            }
        }
    }

    /// CLUSTER COUNT-FAILURE-REPORTS.
    pub fn count_failure_reports(&mut self, id: &str) -> Result<usize, Refusal> {
        let key = self.known(id).ok_or(Refusal::UnknownNode(id.into()))?;
        Ok(self.failure_reports(key))
    }

    /// CLUSTER SAVECONFIG.
    pub fn save_config(&mut self) {
        self.save(Dirty::Sync);
    }

    /// Takes responsibility for slots that hold keys and have no owner; gives
    /// those that hold keys and belong to another, whose keys are to go.
    /// For the start, once the data is loaded.
    pub fn check_data(&mut self, with_keys: &[Slot]) -> Vec<Slot> {
        if !self.i_am_primary() {
            return Vec::new();
        }
        let mut foreign = Vec::new();
        for slot in with_keys {
            match self.table.owner(*slot) {
                Some(owner) if owner == self.myself => {}
                _ if self.table.importing.contains_key(slot) => {}
                None => {
                    self.table.assign(*slot, self.myself);
                    self.changed(Dirty::Sync);
                }
                Some(_) => foreign.push(*slot),
            }
        }
        foreign
    }
}
