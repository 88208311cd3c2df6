//! What is done ten times a second: connections, PINGs, silence, and the
//! things that wait for their time.

use super::Bus;
use crate::flags::Flags;
use crate::message::Kind;
use crate::table::{Node, NodeKey};

/// Time between two ticks.
pub(super) const PERIOD_MS: u64 = 100;
/// A handshake lasts this long at least.
const HANDSHAKE_MIN_MS: u64 = 1000;
/// Ticks between two PINGs to a node drawn at random.
const RANDOM_PING_TICKS: u64 = 10;
/// Voting primaries PING each other after this part of the node timeout, ...
const WATCH_PART: u64 = 10;
/// ... or after so long for each of them, whichever is longer.
const WATCH_MS_PER_VOTER: u64 = 20;
/// Nodes drawn, of which the one that was silent the longest gets the PING.
const RANDOM_PING_CHOICES: usize = 5;

impl Bus {
    /// Does what is due by now; whether that was a tick.
    pub(super) fn run_timers(&mut self) -> bool {
        let ticks = self.now_ms >= self.next_tick_ms;
        if ticks {
            // Missed ticks are not made up for.
            self.next_tick_ms = self.now_ms + PERIOD_MS;
            self.ticks += 1;
            self.tick();
        }
        self.run_manual();
        self.run_election();
        ticks
    }

    fn tick(&mut self) {
        for key in self.table.keys() {
            self.tend_connection(key);
        }
        if self.ticks.is_multiple_of(RANDOM_PING_TICKS) {
            self.ping_someone();
        }
        let watch_ms = self.watch_ms();
        let handshake_ms = self.handshake_ms();
        for key in self.peers() {
            self.tend_node(key, watch_ms);
            self.make_known(key, handshake_ms);
        }
        self.leave_chain();
        self.run_migration();
        let now_ms = self.now_ms;
        self.forgotten.retain(|_, until_ms| *until_ms > now_ms);
        if !self.is_healthy() {
            self.state_may_change = true;
        }
    }

    /// Connects to a node without a connection; gives up an old handshake.
    fn tend_connection(&mut self, key: NodeKey) {
        let limit_ms = self.handshake_ms();
        let Some(node) = self.node(key) else { return };
        if node.is(Flags::MYSELF | Flags::NOADDR) {
            return;
        }
        if node.is(Flags::HANDSHAKE) && self.now_ms - node.created_ms > limit_ms {
            return self.drop_node(key);
        }
        if node.link.is_none() && !node.address.ip.is_empty() && node.address.bus_port != 0 {
            self.connect(key);
        }
    }

    /// How long a handshake may last.
    fn handshake_ms(&self) -> u64 {
        self.options.node_timeout_ms.max(HANDSHAKE_MIN_MS)
    }

    fn ping_someone(&mut self) {
        let peers = self.peers();
        let drawn: Vec<NodeKey> = (0..RANDOM_PING_CHOICES.min(peers.len()))
            .map(|_| peers[self.random.below(peers.len() as u64) as usize])
            .collect();
        let idle = |node: &&Node| node.link.is_some() && node.ping_sent_ms.is_none();
        let chosen = drawn
            .iter()
            .filter_map(|key| self.node(*key))
            .filter(idle)
            .min_by_key(|node| node.pong_received_ms)
            .and_then(|node| node.link);
        if let Some(link) = chosen.filter(|link| self.is_connected(*link)) {
            self.send_heartbeat(link, Kind::Ping);
        }
    }

    fn is_connected(&self, link: crate::table::LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.connected)
    }

    /// How long a voting primary may be silent before it is sent a PING, if that
    /// is shorter than the usual time: voting primaries look after each other
    /// more often, so that the node timeout begins soon after a failure. The
    /// more there are, the less often. None: this node does not vote.
    fn watch_ms(&self) -> Option<u64> {
        let of_timeout_ms = self.options.node_timeout_ms / WATCH_PART;
        let of_size_ms = self.size() as u64 * WATCH_MS_PER_VOTER;
        let votes = self.me().votes();
        votes.then_some(of_timeout_ms.max(of_size_ms))
    }

    fn tend_node(&mut self, key: NodeKey, watch_ms: Option<u64>) {
        let (now_ms, timeout_ms) = (self.now_ms, self.options.node_timeout_ms);
        let Some(node) = self.node(key) else { return };
        if node.is(Flags::NOADDR) {
            return;
        }
        let (ping_ms, pong_ms) = (node.ping_sent_ms, node.pong_received_ms);
        let data_ms = node.data_received_ms;
        let watch_ms = watch_ms.filter(|_| node.votes());
        let doubted = node.votes() && node.answered_ms < self.doubt.since_ms();
        let link = node.link;
        let old = |at_ms: u64, limit_ms: u64| now_ms.saturating_sub(at_ms) > limit_ms;
        // Perhaps only the connection is broken. What the node sends over its
        // own connection speaks against that, but not for ever.
        if let (Some(link), Some(ping_ms)) = (link, ping_ms)
            && let Some(made) = self.links.get(&link)
            && old(made.created_ms, timeout_ms)
            && old(ping_ms, timeout_ms / 2)
            && (old(data_ms, timeout_ms / 2) || old(ping_ms, timeout_ms))
        {
            self.close(link);
        }
        let link = link.filter(|link| self.is_connected(*link));
        let interval_ms = match self.options.ping_interval_ms {
            0 => timeout_ms / 2,
            explicit => explicit,
        };
        let watched = watch_ms.is_some_and(|limit_ms| old(data_ms, limit_ms));
        if let (Some(link), None) = (link, ping_ms)
            && (old(pong_ms, interval_ms) || watched || doubted)
        {
            return self.send_heartbeat(link, Kind::Ping);
        }
        if let Some(link) = link
            && self.manual.is_on()
            && self.manual.replica == Some(key)
        {
            return self.send_heartbeat(link, Kind::Ping);
        }
        if let Some(ping_ms) = ping_ms {
            self.check_silence(key, ping_ms);
        }
    }
}
