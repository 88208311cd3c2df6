//! What a node knows of the cluster: its nodes, who serves which slot, and
//! which slots are on the move.
//!
//! Nodes are named by a [`NodeKey`] that is never used twice, so that a key
//! kept anywhere leads to its node or to nothing.

use std::collections::BTreeMap;

use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::message::Address;
use crate::slot_set::SlotSet;
use crate::slots::{SLOT_COUNT, Slot};

/// A node of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct NodeKey(pub u32);

/// A connection of the bus. Its maker draws the number: even ones are opened
/// by this node, odd ones by others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// The `n`th connection that another node opened.
    pub fn inbound(n: u64) -> LinkId {
        LinkId(n * 2 + 1)
    }

    /// The `n`th connection that this node opened.
    pub fn outbound(n: u64) -> LinkId {
        LinkId(n * 2)
    }

    /// Whether another node opened it.
    pub fn is_inbound(self) -> bool {
        self.0 % 2 == 1
    }
}

/// What is known of a node. Times are Unix milliseconds.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; a random one during the handshake.
    pub id: NodeId,
    /// Its shard.
    pub shard: NodeId,
    /// What it is and how it fares.
    pub flags: Flags,
    /// Its config epoch, if it is a primary.
    pub config_epoch: Epoch,
    /// The greatest current epoch that it has told: what it says under a
    /// smaller one was overtaken on its way.
    pub seen_epoch: Epoch,
    /// Its primary, if it is a replica of a known one.
    pub primary: Option<NodeKey>,
    /// The slots it serves.
    pub slots: SlotSet,
    /// How many they are.
    pub slot_count: usize,
    /// Where it is.
    pub address: Address,
    /// Its host name for clients; may be empty, like the next four.
    pub host_name: String,
    /// Its name for people.
    pub human_name: String,
    /// Its IPv4 address for clients.
    pub client_ipv4: String,
    /// Its IPv6 address for clients.
    pub client_ipv6: String,
    /// The availability zone it runs in.
    pub zone: String,
    /// The connection to it.
    pub link: Option<LinkId>,
    /// The connection from it.
    pub inbound: Option<LinkId>,
    /// When the PING was sent that it has not answered yet.
    pub ping_sent_ms: Option<u64>,
    /// When it last answered a PING; 0: never.
    pub pong_received_ms: u64,
    /// When the PING was sent that it answered last; 0: none.
    pub answered_ms: u64,
    /// When it last sent anything.
    pub data_received_ms: u64,
    /// When it was added.
    pub created_ms: u64,
    /// When there last was a connection from it, or MEET was sent to it for
    /// want of one.
    pub mutual_ms: u64,
    /// When it got [`Flags::FAIL`].
    pub failed_ms: u64,
    /// Since when it has had no working replica.
    pub orphaned_ms: Option<u64>,
    /// Its replication offset, as last told.
    pub offset: u64,
    /// Who reported it as failing, and when.
    pub reports: BTreeMap<NodeKey, u64>,
    /// Connections in a row that its host refused.
    pub refusals: u32,
}

impl Node {
    /// A node that nothing more is known of.
    pub fn new(id: NodeId, shard: NodeId, flags: Flags, now_ms: u64) -> Node {
        Node {
            id,
            shard,
            flags,
            config_epoch: Epoch(0),
            seen_epoch: Epoch(0),
            primary: None,
            slots: SlotSet::default(),
            slot_count: 0,
            address: Address::default(),
            host_name: String::new(),
            human_name: String::new(),
            client_ipv4: String::new(),
            client_ipv6: String::new(),
            zone: String::new(),
            link: None,
            inbound: None,
            ping_sent_ms: None,
            pong_received_ms: 0,
            answered_ms: 0,
            data_received_ms: 0,
            created_ms: now_ms,
            mutual_ms: now_ms,
            failed_ms: 0,
            orphaned_ms: None,
            offset: 0,
            reports: BTreeMap::new(),
            refusals: 0,
        }
    }

    /// Whether one of `flags` is set.
    pub fn is(&self, flags: Flags) -> bool {
        self.flags.any(flags)
    }

    /// The address that clients are told, by the family that they use.
    pub fn client_ip(&self, v6: bool) -> &str {
        let announced = match v6 {
            true => &self.client_ipv6,
            false => &self.client_ipv4,
        };
        match announced.is_empty() {
            true => &self.address.ip,
            false => announced,
        }
    }

    /// Whether it is a primary that serves slots: those vote.
    pub fn votes(&self) -> bool {
        self.is(Flags::PRIMARY) && self.slot_count > 0
    }
}

/// All nodes and slots. `owners` and the nodes' `slots` always agree.
#[derive(Clone, Debug)]
pub struct Table {
    nodes: BTreeMap<NodeKey, Node>,
    by_id: BTreeMap<NodeId, NodeKey>,
    owners: Vec<Option<NodeKey>>,
    next_key: u32,
    /// Slots that this node gives to another.
    pub migrating: BTreeMap<Slot, NodeKey>,
    /// Slots that this node takes from another.
    pub importing: BTreeMap<Slot, NodeKey>,
    /// Slots whose owner no longer claims them: they stay with it until
    /// another does, but UPDATE doesn't spread them.
    pub unclaimed: SlotSet,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            nodes: BTreeMap::new(),
            by_id: BTreeMap::new(),
            owners: vec![None; SLOT_COUNT],
            next_key: 0,
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            unclaimed: SlotSet::default(),
        }
    }
}

impl Table {
    /// Adds a node under a fresh key.
    pub fn add(&mut self, node: Node) -> NodeKey {
        let key = NodeKey(self.next_key);
        self.next_key += 1;
        self.by_id.insert(node.id, key);
        self.nodes.insert(key, node);
        key
    }

    /// Takes a node out, with its slots, its reports and all that points to it.
    pub fn remove(&mut self, key: NodeKey) -> Option<Node> {
        self.release_all(key);
        self.migrating.retain(|_, target| *target != key);
        self.importing.retain(|_, source| *source != key);
        let node = self.nodes.remove(&key)?;
        if self.by_id.get(&node.id) == Some(&key) {
            self.by_id.remove(&node.id);
        }
        for other in self.nodes.values_mut() {
            other.reports.remove(&key);
            if other.primary == Some(key) {
                other.primary = None;
            }
        }
        Some(node)
    }

    /// Gives a node another name.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&key) {
            self.by_id.remove(&node.id);
            node.id = id;
            self.by_id.insert(id, key);
        }
    }

    /// The node with this key.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// The node with this key, to change it.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        self.nodes.get_mut(&key)
    }

    /// The key of the node with this name.
    pub fn find(&self, id: &NodeId) -> Option<NodeKey> {
        self.by_id.get(id).copied()
    }

    /// All nodes, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter().map(|(key, node)| (*key, node))
    }

    /// All keys.
    pub fn keys(&self) -> Vec<NodeKey> {
        self.nodes.keys().copied().collect()
    }

    /// How many nodes there are, this one among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The replicas of a node.
    pub fn replicas(&self, primary: NodeKey) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.iter()
            .filter(move |(_, node)| node.primary == Some(primary) && node.is(Flags::REPLICA))
    }

    /// How many of a node's replicas work, as far as is known.
    pub fn working_replicas(&self, primary: NodeKey) -> usize {
        self.replicas(primary)
            .filter(|(_, node)| !node.is(Flags::FAIL))
            .count()
    }

    /// The same for all nodes that have any, in one pass.
    pub fn working_replica_counts(&self) -> BTreeMap<NodeKey, usize> {
        let mut counts = BTreeMap::new();
        for (_, node) in self.iter() {
            if let Some(primary) = node.primary
                && node.is(Flags::REPLICA)
                && !node.is(Flags::FAIL)
            {
                *counts.entry(primary).or_default() += 1;
            }
        }
        counts
    }

    /// Who serves a slot.
    pub fn owner(&self, slot: Slot) -> Option<NodeKey> {
        self.owners[usize::from(slot.number())]
    }

    /// The config epoch of a slot's owner.
    pub fn owner_epoch(&self, slot: Slot) -> Option<Epoch> {
        self.owner(slot)
            .and_then(|key| self.get(key))
            .map(|node| node.config_epoch)
    }

    /// Gives a slot to a node, whoever had it.
    pub fn assign(&mut self, slot: Slot, key: NodeKey) {
        self.release(slot);
        let replicas_exist = self.nodes.values().any(|node| node.is(Flags::REPLICA));
        let Some(node) = self.nodes.get_mut(&key) else {
            return;
        };
        node.slots.insert(slot);
        node.slot_count += 1;
        if node.slot_count == 1 && replicas_exist {
            node.flags.set(Flags::MIGRATE_TO, true);
        }
        self.owners[usize::from(slot.number())] = Some(key);
    }

    /// Takes a slot from whoever serves it; tells who that was.
    pub fn release(&mut self, slot: Slot) -> Option<NodeKey> {
        self.unclaimed.remove(slot);
        let key = self.owners[usize::from(slot.number())].take()?;
        if let Some(node) = self.nodes.get_mut(&key) {
            node.slots.remove(slot);
            node.slot_count -= 1;
        }
        Some(key)
    }

    /// Takes all slots from a node; tells how many.
    pub fn release_all(&mut self, key: NodeKey) -> usize {
        let Some(node) = self.nodes.get(&key) else {
            return 0;
        };
        let slots: Vec<Slot> = node.slots.iter().collect();
        for slot in &slots {
            self.release(*slot);
        }
        slots.len()
    }

    /// The greatest config epoch of all nodes.
    pub fn max_epoch(&self) -> Epoch {
        let epochs = self.nodes.values().map(|node| node.config_epoch);
        epochs.max().unwrap_or_default()
    }

    /// Whether every slot has an owner that has not failed.
    pub fn is_covered(&self) -> bool {
        let served = self.nodes.values().filter(|node| !node.is(Flags::FAIL));
        served.map(|node| node.slot_count).sum::<usize>() == SLOT_COUNT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn table_of(count: usize) -> (Table, Vec<NodeKey>) {
        let mut random = Random::new(9);
        let mut table = Table::default();
        let keys = (0..count).map(|_| {
            let id = NodeId::random(&mut random);
            table.add(Node::new(id, id, Flags::PRIMARY, 0))
        });
        let keys = keys.collect();
        (table, keys)
    }

    #[test]
    fn a_slot_has_one_owner_and_counts_once() {
        let (mut table, keys) = table_of(2);
        let slot = Slot::new(5).expect("a slot");
        table.assign(slot, keys[0]);
        table.assign(slot, keys[1]);
        table.assign(slot, keys[1]);
        assert_eq!(table.owner(slot), Some(keys[1]));
        assert_eq!(table.get(keys[0]).map(|node| node.slot_count), Some(0));
        assert_eq!(table.get(keys[1]).map(|node| node.slot_count), Some(1));
    }

    #[test]
    fn a_removed_node_leaves_nothing_behind() {
        let (mut table, keys) = table_of(3);
        let slot = Slot::new(5).expect("a slot");
        table.assign(slot, keys[1]);
        table.migrating.insert(slot, keys[1]);
        if let Some(replica) = table.get_mut(keys[2]) {
            replica.primary = Some(keys[1]);
            replica.reports.insert(keys[1], 0);
        }
        let id = table.get(keys[1]).map(|node| node.id).expect("it is there");
        table.remove(keys[1]);
        assert_eq!(table.find(&id), None);
        assert_eq!(table.owner(slot), None);
        assert!(table.migrating.is_empty());
        let other = table.get(keys[2]).expect("it is there");
        assert!(other.primary.is_none() && other.reports.is_empty());
    }
}
