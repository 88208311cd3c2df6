//! The cluster bus as a state machine: it gossips, suspects, votes, takes
//! over, and settles who serves which slot.
//!
//! A driver calls [`Bus::handle`] with the time and what happened, carries out
//! what [`Bus::poll_output`] gives, in order, and calls again with
//! [`Input::Tick`] at [`Bus::poll_timeout`] at the latest. Orders of the
//! operator are methods (`admin`); their outputs are polled the same way.
//!
//! A [`Output::Persist`] comes before every [`Output::Send`] that its state
//! caused: a vote is on disk before it is given.
//!
//! How a failed primary is replaced: nodes that hear nothing from it hold it
//! for possibly failed (PFAIL) and say so in their gossip; one that counts a
//! majority of voting primaries saying so tells everyone that it failed
//! (FAIL); its replicas, the one with the most data first, draw a new epoch
//! and ask for votes; who gets those of a majority claims the slots under that
//! epoch, and the greater epoch wins everywhere.
//!
//! Source: the Redis Cluster specification; timings and details as Valkey has
//! them, so that both understand each other.

mod admin;
mod claims;
mod debug;
mod doubt;
mod election;
mod failure;
mod gossip;
mod health;
mod heartbeat;
mod links;
mod manual;
mod migration;
mod mutual;
mod options;
mod roles;
mod slot_move;
mod slot_states;
#[cfg(test)]
mod tests;
mod tick;
mod vote;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use admin::{Failover, Refusal};
pub use doubt::Inquiry;
pub use election::Holdup;
pub use health::Health;
pub use options::{Announced, Options};
pub use slot_move::MoveRefusal;
pub use slot_states::SlotState;
pub use vote::Denial;

use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::message::Kind;
use crate::nodes_conf;
use crate::random::Random;
use crate::slots::Slot;
use crate::table::{LinkId, Node, NodeKey, Table};

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time has passed.
    Tick,
    /// A connection asked for by [`Output::Connect`] stands.
    Connected(LinkId),
    /// Another node has connected.
    Accepted {
        /// The connection; see [`LinkId::inbound`].
        link: LinkId,
        /// The other end's IP address.
        peer: String,
        /// This end's IP address.
        local: String,
    },
    /// A whole packet came in.
    Received(LinkId, &'a [u8]),
    /// A connection is gone, or could not be made.
    Closed {
        /// Which.
        link: LinkId,
        /// Whether a host that lives refused it: nothing listens there.
        refused: bool,
    },
    /// How replication stands.
    Replication(Replication),
    /// What [`Output::PauseWrites`] asked for is so: no write of a client
    /// follows this replication offset.
    WritesPaused {
        /// The offset.
        offset: u64,
    },
}

/// How this node's replication stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Replication offset: what was written, or taken over from the primary.
    pub offset: u64,
    /// As a replica: whether it holds a whole copy of its primary's data.
    pub synced: bool,
    /// As a replica: when bytes of its primary's stream last came, Unix
    /// milliseconds.
    pub heard_ms: u64,
}

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Replace `nodes.conf` by this text before anything that follows.
    Persist {
        /// The whole file.
        text: String,
        /// Whether it has to outlive a crash of the machine.
        sync: bool,
    },
    /// Connect to a node; ends in `Connected` or `Closed`.
    Connect {
        /// The connection's number.
        link: LinkId,
        /// IP address.
        ip: String,
        /// Port.
        port: u16,
    },
    /// Close a connection; no `Closed` follows.
    Close(LinkId),
    /// Send a packet. Without effect on a connection that is gone.
    Send(LinkId, Arc<[u8]>),
    /// Replicate another node from now on.
    BecomeReplicaOf {
        /// Its name.
        id: NodeId,
        /// IP address.
        ip: String,
        /// Port for clients.
        port: u16,
        /// Its data has another history than this node's.
        full_sync: bool,
    },
    /// Stop replicating; this node is a primary now.
    BecomePrimary,
    /// Hold back writes of clients until then (Unix milliseconds), `None`: no longer.
    PauseWrites(Option<u64>),
    /// Delete the keys of these slots: another node serves them.
    DeleteKeys(Vec<Slot>),
    /// Delete all keys.
    DeleteAll,
    /// A message for this node's subscribers.
    Deliver {
        /// Whether the channel is a shard channel.
        sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// Something that the operator may want to read.
    Note(String),
}

/// Messages counted by kind.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Sent.
    pub sent: BTreeMap<Kind, u64>,
    /// Received and valid.
    pub received: BTreeMap<Kind, u64>,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Refused as malformed.
    pub invalid: u64,
}

/// A connection.
#[derive(Debug)]
struct Link {
    node: Option<NodeKey>,
    connected: bool,
    peer: String,
    local: String,
    created_ms: u64,
    /// This node has sent MEET over it.
    met: bool,
    /// PING of a node that is not known has come over it.
    pinged: bool,
    /// What waits for the connection to stand.
    waiting: Vec<Arc<[u8]>>,
}

/// What of the state has to be written, and how.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Dirty {
    Clean,
    /// With the next tick; a crash may take it.
    Save,
    /// Durably, with the next tick: what others told of others, and would tell
    /// again.
    Learned,
    /// Durably, before anybody hears of it.
    Sync,
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Bus {
    options: Options,
    random: Random,
    now_ms: u64,
    table: Table,
    myself: NodeKey,
    current_epoch: Epoch,
    last_vote_epoch: Epoch,
    health: health::State,
    replication: Replication,
    links: BTreeMap<LinkId, Link>,
    links_made: u64,
    forgotten: BTreeMap<NodeId, u64>,
    /// Nodes that were known here once, or asked in; the oldest first.
    known_once: VecDeque<NodeId>,
    election: election::Election,
    /// The epoch of the last election that this node won.
    elected: Option<Epoch>,
    manual: manual::Manual,
    grants: manual::Grants,
    doubt: doubt::Doubt,
    dirty: Dirty,
    /// Outputs of the input that is being handled.
    pending: Vec<Output>,
    outputs: VecDeque<Output>,
    next_tick_ms: u64,
    ticks: u64,
    state_may_change: bool,
    /// Counts changes of what clients see of slots and nodes.
    version: u64,
    stats: Stats,
    denials: BTreeMap<Denial, u64>,
    losses: debug::Losses,
}

impl Bus {
    /// A node that starts: from the text of its `nodes.conf`, or afresh.
    pub fn new(
        options: Options,
        saved: Option<&str>,
        seed: u64,
        now_ms: u64,
    ) -> Result<Bus, nodes_conf::Corrupt> {
        let mut random = Random::new(seed);
        let saved = match saved.filter(|text| !text.is_empty()) {
            Some(text) => nodes_conf::parse(text, now_ms)?,
            None => fresh(&mut random, now_ms),
        };
        let next_tick_ms = now_ms + random.below(tick::PERIOD_MS);
        let mut bus = Bus {
            options,
            random,
            now_ms,
            table: saved.table,
            myself: saved.myself,
            current_epoch: saved.current_epoch,
            last_vote_epoch: saved.last_vote_epoch,
            health: health::State::new(now_ms),
            replication: Replication::default(),
            links: BTreeMap::new(),
            links_made: 0,
            forgotten: BTreeMap::new(),
            known_once: VecDeque::new(),
            election: election::Election::default(),
            elected: None,
            manual: manual::Manual::default(),
            grants: manual::Grants::default(),
            doubt: doubt::Doubt::default(),
            dirty: Dirty::Sync,
            pending: Vec::new(),
            outputs: VecDeque::new(),
            next_tick_ms,
            ticks: 0,
            state_may_change: true,
            version: 0,
            stats: Stats::default(),
            denials: BTreeMap::new(),
            losses: debug::Losses::default(),
        };
        bus.announce_myself();
        bus.follow_primary(false);
        bus.finish();
        Ok(bus)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now_ms: u64, input: Input<'_>) {
        self.advance(now_ms);
        match input {
            Input::Tick => {}
            Input::Connected(link) => self.connected(link),
            Input::Accepted { link, peer, local } => self.accepted(link, peer, local),
            Input::Received(link, packet) => self.received(link, packet),
            Input::Closed { link, refused } => self.closed(link, refused),
            Input::Replication(replication) => self.note_replication(replication),
            Input::WritesPaused { offset } => self.writes_paused(offset),
        }
        self.finish();
    }

    /// What follows every input and order: timers, the cluster's state, and
    /// the file ahead of what is sent. What needs not be ahead of it is written
    /// with the next tick: a node learns of hundreds of others at once.
    fn finish(&mut self) {
        let ticked = self.run_timers();
        if self.state_may_change {
            self.update_health();
        }
        if self.dirty == Dirty::Sync || ticked && self.dirty != Dirty::Clean {
            let sync = self.dirty >= Dirty::Learned;
            self.dirty = Dirty::Clean;
            let text = self.saved_text();
            self.outputs.push_back(Output::Persist { text, sync });
        }
        self.outputs.extend(self.pending.drain(..));
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due, Unix milliseconds.
    pub fn poll_timeout(&self) -> u64 {
        match self.election.due_ms() {
            Some(due_ms) => due_ms.clamp(self.now_ms + 1, self.next_tick_ms),
            None => self.next_tick_ms,
        }
    }

    /// What `nodes.conf` should hold now.
    pub fn saved_text(&self) -> String {
        nodes_conf::render(
            &self.table,
            self.myself,
            self.current_epoch,
            self.last_vote_epoch,
        )
    }

    /// Nodes and slots.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// This node's key.
    pub fn myself(&self) -> NodeKey {
        self.myself
    }

    /// This node.
    pub fn me(&self) -> &Node {
        self.table
            .get(self.myself)
            .expect("this node is always in its own table")
    }

    fn me_mut(&mut self) -> &mut Node {
        self.table
            .get_mut(self.myself)
            .expect("this node is always in its own table")
    }

    /// The primary of this node's shard: itself, or the one it replicates.
    pub fn shard_primary(&self) -> NodeKey {
        self.me().primary.unwrap_or(self.myself)
    }

    /// The cluster's current epoch, as far as is known.
    pub fn current_epoch(&self) -> Epoch {
        self.current_epoch
    }

    /// The epoch of the last vote given.
    pub fn last_vote_epoch(&self) -> Epoch {
        self.last_vote_epoch
    }

    /// Messages counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How often a vote was denied, by rule.
    pub fn denials(&self) -> &BTreeMap<Denial, u64> {
        &self.denials
    }

    /// The directives.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Why this replica does not take over, if it should.
    pub fn holdup(&self) -> Option<Holdup> {
        self.election.holdup
    }

    /// A number that grows whenever what clients see of slots may have changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many primaries serve slots. One that is taken for a replica, by a
    /// packet that came late, and whose slots nobody else has claimed counts:
    /// else fewer votes than a majority's would do.
    pub fn size(&self) -> usize {
        let nodes = self.table.iter();
        nodes.filter(|(_, node)| node.slot_count > 0).count()
    }

    fn majority(&self) -> usize {
        self.size() / 2 + 1
    }

    fn node(&self, key: NodeKey) -> Option<&Node> {
        self.table.get(key)
    }

    fn node_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        self.table.get_mut(key)
    }

    fn node_is(&self, key: NodeKey, flags: Flags) -> bool {
        self.node(key).is_some_and(|node| node.is(flags))
    }

    fn i_am_primary(&self) -> bool {
        self.me().is(Flags::PRIMARY)
    }

    fn emit(&mut self, output: Output) {
        self.pending.push(output);
    }

    fn note(&mut self, text: impl Into<String>) {
        self.emit(Output::Note(text.into()));
    }

    /// Asks for the file to be written before anything of this input is sent.
    fn save(&mut self, how: Dirty) {
        self.dirty = self.dirty.max(how);
    }

    /// How to write what a primary's packet told of it: on what concerns its
    /// own shard a node acts at once.
    fn learned_of(&self, primary: NodeKey) -> Dirty {
        match primary == self.shard_primary() {
            true => Dirty::Sync,
            false => Dirty::Learned,
        }
    }

    /// The same for what changes what clients see.
    fn changed(&mut self, how: Dirty) {
        self.version += 1;
        self.state_may_change = true;
        self.save(how);
    }
}

fn fresh(random: &mut Random, now_ms: u64) -> nodes_conf::Saved {
    let (id, shard) = (NodeId::random(random), NodeId::random(random));
    let mut table = Table::default();
    let myself = table.add(Node::new(id, shard, Flags::MYSELF | Flags::PRIMARY, now_ms));
    nodes_conf::Saved {
        table,
        myself,
        current_epoch: Epoch(0),
        last_vote_epoch: Epoch(0),
    }
}
