//! How two nodes come to know each other again when only one of them still
//! knows the other: after CLUSTER RESET or FORGET on one side, or a handshake
//! that only one side has finished. Gossip can't mend that where nobody whom
//! the one knows knows the other; its PINGs are those of a stranger.
//!
//! Who notices is the one that knows: the other answers its PINGs and opens no
//! connection of its own. It sends MEET then, once a handshake's time. Unlike
//! an operator's MEET, which is the first packet of its connection, this one
//! comes behind PINGs, so the receiver can tell them apart. It takes it only
//! from whom it does not keep forgotten, and only if it knows nobody or has
//! known the sender: else a node that an operator took to another cluster
//! would draw its old cluster behind it.

use super::Bus;
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::table::{LinkId, NodeKey};

/// Names remembered of nodes that were known.
const KNOWN_ONCE_MAX: usize = 1024;

impl Bus {
    /// Sends MEET to a node that answers and has long had no connection to
    /// this one.
    pub(super) fn make_known(&mut self, key: NodeKey, limit_ms: u64) {
        let now_ms = self.now_ms;
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if node.inbound.is_some() {
            node.mutual_ms = now_ms;
            return;
        }
        let (answered_ms, mutual_ms) = (node.answered_ms, node.mutual_ms);
        let Some(id) = node
            .link
            .filter(|_| now_ms.saturating_sub(mutual_ms) > limit_ms)
        else {
            return;
        };
        // Who listens at a node's address may be another one by now, and one
        // of another cluster: it must have given its name here.
        let answers = |link: &&super::Link| link.connected && answered_ms >= link.created_ms;
        let Some(link) = self.links.get(&id).filter(answers) else {
            return;
        };
        if link.met {
            // Some nodes don't survive a second MEET over one connection.
            return self.close(id);
        }
        if let Some(node) = self.node_mut(key) {
            node.mutual_ms = now_ms;
        }
        self.send_heartbeat(id, crate::message::Kind::Meet);
    }

    /// Whether MEET over this connection is not by an operator's order: who
    /// sends PING before it knows this node already.
    pub(super) fn is_unordered(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.pinged)
    }

    /// Whether a stranger's MEET begins a handshake.
    pub(super) fn may_meet(&self, link: LinkId, sender: &NodeId) -> bool {
        if !self.is_unordered(link) {
            return true;
        }
        let met = self.links.get(&link).and_then(|link| link.node);
        if met.is_some_and(|key| self.node_is(key, Flags::HANDSHAKE)) {
            return false;
        }
        let alone = self.table.len() == 1;
        !self.is_forgotten(sender) && (alone || self.known_once.contains(sender))
    }

    /// Remembers a node that was of this cluster, or that was asked in.
    pub(super) fn remember(&mut self, id: NodeId) {
        if self.known_once.contains(&id) {
            return;
        }
        if self.known_once.len() >= KNOWN_ONCE_MAX {
            self.known_once.pop_front();
        }
        self.known_once.push_back(id);
    }
}
