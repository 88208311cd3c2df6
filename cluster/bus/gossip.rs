//! What nodes tell of third nodes, and of themselves beyond the header.

use super::{Bus, Dirty};
use crate::flags::Flags;
use crate::message::{Extension, Gossip};
use crate::table::{Node, NodeKey};

/// Gossip entries of a heartbeat at least, if there are as many nodes.
const ENTRIES_MIN: usize = 3;
/// How far ahead of this node's clock another's may be to be believed.
const CLOCK_TOLERANCE_MS: u64 = 500;

impl Bus {
    /// Nodes to tell `receiver` about: a tenth of all, at random, and all that
    /// are possibly failed.
    pub(super) fn pick_gossip(&mut self, receiver: Option<NodeKey>) -> Vec<Gossip> {
        let total = self.table.len();
        let useful = |key: NodeKey, node: &Node| {
            Some(key) != receiver
                && !node.is(Flags::MYSELF | Flags::HANDSHAKE | Flags::NOADDR)
                && !node.address.ip.is_empty()
        };
        let mut candidates: Vec<NodeKey> = Vec::with_capacity(total);
        let mut suspects: Vec<NodeKey> = Vec::new();
        for (key, node) in self.table.iter().filter(|(key, node)| useful(*key, node)) {
            if node.is(Flags::PFAIL) {
                suspects.push(key);
            } else if node.link.is_some() || node.slot_count > 0 {
                candidates.push(key);
            }
        }
        let wanted = (total / 10).max(ENTRIES_MIN).min(candidates.len());
        for at in 0..wanted {
            let other = at + self.random.below((candidates.len() - at) as u64) as usize;
            candidates.swap(at, other);
        }
        candidates.truncate(wanted);
        candidates.extend(suspects);
        let entries = candidates.iter().filter_map(|key| self.node(*key));
        entries.map(entry).collect()
    }

    /// Takes in what a known node says of others.
    pub(super) fn hear_gossip(&mut self, sender: NodeKey, gossip: &[Gossip]) {
        for entry in gossip {
            match self.table.find(&entry.id) {
                Some(key) if key == self.myself => {}
                Some(key) => self.hear_of_known(sender, key, entry),
                None => self.hear_of_new(entry),
            }
        }
    }

    fn hear_of_known(&mut self, sender: NodeKey, key: NodeKey, entry: &Gossip) {
        let failing = entry.flags.any(Flags::FAIL | Flags::PFAIL);
        if self.node(sender).is_some_and(Node::votes) {
            self.report(key, sender, failing);
        }
        let now_ms = self.now_ms;
        let Some(node) = self.node_mut(key) else {
            return;
        };
        let pong_ms = u64::from(entry.pong_received_s) * 1000;
        if !failing
            && node.ping_sent_ms.is_none()
            && node.reports.is_empty()
            && pong_ms <= now_ms + CLOCK_TOLERANCE_MS
            && pong_ms > node.pong_received_ms
        {
            node.pong_received_ms = pong_ms;
        }
        // This node can't reach it, the sender can, at another address.
        let moved = node.is(Flags::FAIL | Flags::PFAIL)
            && !failing
            && !entry.flags.any(Flags::NOADDR)
            && !entry.address.ip.is_empty()
            && node.address != entry.address;
        if moved {
            node.address = entry.address.clone();
            node.flags.set(Flags::NOADDR, false);
            if let Some(link) = node.link {
                self.close(link);
            }
            self.changed(Dirty::Save);
            if self.me().primary == Some(key) {
                self.follow_primary(false);
            }
        }
    }

    fn hear_of_new(&mut self, entry: &Gossip) {
        let reachable = !entry.flags.any(Flags::NOADDR | Flags::HANDSHAKE)
            && !entry.address.ip.is_empty()
            && entry.address.bus_port != 0;
        if !reachable || self.is_forgotten(&entry.id) {
            return;
        }
        let role = entry.flags.only(Flags::PRIMARY | Flags::REPLICA);
        // Its shard is told by itself later; until then it is its own.
        let mut node = Node::new(entry.id, entry.id, role, self.now_ms);
        node.address = entry.address.clone();
        self.table.add(node);
        self.changed(Dirty::Save);
    }

    /// What a node says of itself in extensions. What it leaves out, it has not.
    pub(super) fn hear_extensions(&mut self, sender: NodeKey, extensions: &[Extension]) {
        let mut host_name = String::new();
        let mut human_name = String::new();
        let (mut ipv4, mut ipv6) = (String::new(), String::new());
        let mut zone = String::new();
        let mut shard = None;
        for extension in extensions {
            match extension {
                Extension::HostName(text) => host_name = text.clone(),
                Extension::HumanName(text) => human_name = text.clone(),
                Extension::ClientIpv4(text) => ipv4 = text.clone(),
                Extension::ClientIpv6(text) => ipv6 = text.clone(),
                Extension::Zone(text) => zone = text.clone(),
                Extension::Shard(id) => shard = Some(*id),
                Extension::Forgotten(id, ttl_s) => self.hear_forgotten(id, *ttl_s),
            }
        }
        let primary_shard = self
            .node(sender)
            .and_then(|node| node.primary)
            .and_then(|key| self.node(key))
            .map(|node| node.shard);
        let Some(node) = self.node_mut(sender) else {
            return;
        };
        let shard = shard.or(primary_shard).unwrap_or(node.shard);
        let same = node.host_name == host_name
            && node.human_name == human_name
            && node.client_ipv4 == ipv4
            && node.client_ipv6 == ipv6
            && node.zone == zone
            && node.shard == shard;
        if same {
            return;
        }
        node.host_name = host_name;
        node.human_name = human_name;
        node.client_ipv4 = ipv4;
        node.client_ipv6 = ipv6;
        node.zone = zone;
        node.shard = shard;
        // A replica belongs to its primary's shard.
        if self.me().primary == Some(sender) {
            self.me_mut().shard = shard;
        }
        self.changed(Dirty::Save);
    }

    fn hear_forgotten(&mut self, id: &crate::identity::NodeId, ttl_s: u64) {
        let Some(key) = self.table.find(id) else {
            return;
        };
        if key == self.myself || self.me().primary == Some(key) {
            return;
        }
        let until_ms = self.now_ms.saturating_add(ttl_s.saturating_mul(1000));
        self.forgotten.insert(*id, until_ms);
        self.remember(*id);
        self.note(format!("Node {id} was forgotten by others"));
        self.drop_node(key);
    }

    /// Whether a node was forgotten so recently that gossip may not bring it back.
    pub(super) fn is_forgotten(&self, id: &crate::identity::NodeId) -> bool {
        let until_ms = self.forgotten.get(id);
        until_ms.is_some_and(|until_ms| *until_ms > self.now_ms)
    }
}

fn entry(node: &Node) -> Gossip {
    let seconds = |ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX);
    Gossip {
        id: node.id,
        ping_sent_s: seconds(node.ping_sent_ms.unwrap_or(0)),
        pong_received_s: seconds(node.pong_received_ms),
        address: node.address.clone(),
        flags: node.flags,
    }
}
