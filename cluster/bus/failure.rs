//! Failure detection. A node that does not answer is possibly failed (PFAIL)
//! for who asked it; it has failed (FAIL) once a majority of the primaries
//! that serve slots hold it for possibly failed within a while. Who finds that
//! out tells everyone.

use super::{Bus, Dirty};
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::message::{Body, Kind};
use crate::table::{Node, NodeKey};

/// Node timeouts for which a report counts.
const REPORT_TIMEOUTS: u64 = 2;
/// Node timeouts for which a failed primary stays so although it answers.
const UNDO_TIMEOUTS: u64 = 2;
/// Refused connections in a row that make a node suspect.
const REFUSALS: u32 = 2;
/// Voting primaries that are told of a suspicion at once.
const COLLECTORS: usize = 3;

impl Bus {
    /// Takes in whether a voting primary can reach a node.
    pub(super) fn report(&mut self, key: NodeKey, reporter: NodeKey, failing: bool) {
        let now_ms = self.now_ms;
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if failing {
            if node.reports.insert(reporter, now_ms).is_none() {
                let (reporter, node) = (self.name(reporter), self.name(key));
                self.note(format!(
                    "Node {reporter} reported node {node} as not reachable"
                ));
            }
            self.conclude_failure(key);
        } else {
            node.reports.remove(&reporter);
        }
    }

    /// A node's id and its name for people, for notes.
    fn name(&self, key: NodeKey) -> String {
        let node = self.node(key);
        node.map_or_else(String::new, |node| {
            format!("{} ({})", node.id, node.human_name)
        })
    }

    /// How many voting primaries report a node as failing.
    pub fn failure_reports(&mut self, key: NodeKey) -> usize {
        let oldest = self
            .now_ms
            .saturating_sub(self.options.node_timeout_ms * REPORT_TIMEOUTS);
        match self.node_mut(key) {
            Some(node) => {
                node.reports.retain(|_, at_ms| *at_ms >= oldest);
                node.reports.len()
            }
            None => 0,
        }
    }

    /// Holds a node for possibly failed.
    pub(super) fn suspect(&mut self, key: NodeKey) {
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if node.is(Flags::PFAIL | Flags::FAIL) {
            return;
        }
        node.flags.set(Flags::PFAIL, true);
        let text = format!("Node {} is possibly failed", node.id);
        self.note(text);
        self.changed(Dirty::Save);
        self.conclude_failure(key);
        if self.node_is(key, Flags::PFAIL) {
            self.tell_suspicion(key);
        }
    }

    /// A host that refuses connections lives, and its node does not: that
    /// needs no timeout. A majority still decides. Not if the node's own
    /// connection stands, which a process that has ended leaves none of: then
    /// it is the way to it that is wrong, and silence alone counts.
    pub(super) fn suspect_refusing(&mut self, key: NodeKey) {
        let refusing = self.node(key).is_some_and(|node| {
            node.refusals >= REFUSALS
                && node.inbound.is_none()
                && !node.is(Flags::HANDSHAKE | Flags::NOADDR)
        });
        if refusing && self.options.suspect_refused {
            self.suspect(key);
        }
    }

    /// Tells those at once who can make use of it: the node's replicas, and
    /// the first few voting primaries by name, which so collect a majority's
    /// reports whatever the size of the cluster.
    fn tell_suspicion(&mut self, key: NodeKey) {
        if !self.me().votes() {
            return;
        }
        let mut voters: Vec<(NodeId, NodeKey)> = self
            .table
            .iter()
            .filter(|(_, node)| {
                node.votes() && !node.is(Flags::MYSELF | Flags::PFAIL | Flags::FAIL)
            })
            .map(|(key, node)| (node.id, key))
            .collect();
        voters.sort();
        let collectors = voters.into_iter().take(COLLECTORS).map(|(_, key)| key);
        let replicas = self.table.replicas(key).map(|(key, _)| key);
        let told: Vec<NodeKey> = collectors.chain(replicas).collect();
        for key in told {
            if let Some(link) = self.node(key).and_then(|node| node.link) {
                self.send_heartbeat(link, Kind::Pong);
            }
        }
    }

    /// Turns PFAIL into FAIL if a majority agrees.
    pub(super) fn conclude_failure(&mut self, key: NodeKey) {
        if !self.node_is(key, Flags::PFAIL) || self.node_is(key, Flags::FAIL) {
            return;
        }
        let agreeing = self.failure_reports(key) + usize::from(self.me().votes());
        if agreeing < self.majority() {
            return;
        }
        let Some(id) = self.node(key).map(|node| node.id) else {
            return;
        };
        self.note(format!("Node {id} has failed: a majority can't reach it"));
        self.mark_failed(key);
        self.broadcast(&Body::Fail(id));
    }

    fn mark_failed(&mut self, key: NodeKey) {
        let now_ms = self.now_ms;
        if let Some(node) = self.node_mut(key) {
            node.flags.set(Flags::PFAIL, false);
            node.flags.set(Flags::FAIL, true);
            node.failed_ms = now_ms;
        }
        if self.me().primary == Some(key) {
            self.election.forget_unless_asked();
        }
        self.changed(Dirty::Save);
    }

    /// A known node says that another has failed.
    pub(super) fn told_failed(&mut self, sender: NodeKey, id: &NodeId) {
        let Some(key) = self.table.find(id) else {
            return;
        };
        if self.node_is(key, Flags::FAIL | Flags::MYSELF) {
            return;
        }
        let teller = self.node(sender).map(|node| node.id);
        if let Some(teller) = teller {
            self.note(format!("Node {id} has failed, says {teller}"));
        }
        self.mark_failed(key);
    }

    /// A node answered a PING.
    pub(super) fn answered(&mut self, key: NodeKey) {
        let (now_ms, timeout_ms) = (self.now_ms, self.options.node_timeout_ms);
        let Some(node) = self.node_mut(key) else {
            return;
        };
        node.pong_received_ms = now_ms;
        node.answered_ms = node.ping_sent_ms.take().unwrap_or(node.answered_ms);
        // A failed primary whose slots nobody took stays failed for a while,
        // so that its replicas can.
        let settled = !node.votes() || now_ms - node.failed_ms > timeout_ms * UNDO_TIMEOUTS;
        if node.is(Flags::PFAIL) {
            node.flags.set(Flags::PFAIL, false);
            self.changed(Dirty::Save);
        } else if node.is(Flags::FAIL) && settled {
            node.flags.set(Flags::FAIL, false);
            let text = format!("Node {} can be reached again", node.id);
            self.note(text);
            self.changed(Dirty::Save);
        }
    }

    /// Looks at how long a node has been silent. `ping_ms` is when it was sent
    /// the PING that it owes an answer to. What came in while this node slept
    /// may not have been read yet.
    pub(super) fn check_silence(&mut self, key: NodeKey, ping_ms: u64) {
        let woke_ms = self.doubt.woke_late_ms();
        let silent_since = |node: &Node| ping_ms.max(node.data_received_ms).max(woke_ms);
        let since_ms = self.node(key).map_or(self.now_ms, silent_since);
        if self.now_ms.saturating_sub(since_ms) > self.options.node_timeout_ms {
            self.suspect(key);
        }
    }
}
