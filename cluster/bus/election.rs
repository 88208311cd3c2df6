//! Standing for election: what a replica does when its primary has failed.
//!
//! It waits a moment, so that everyone has heard of the failure, and longer
//! the more replicas have more data (replica rank) and the more other shards
//! have lost their primary too (failed-primary rank: so the elections don't
//! take each other's epochs). Then it draws an epoch, asks all for votes, and
//! takes over once a majority of the voting primaries has given theirs.

use std::collections::BTreeSet;

use super::{Bus, Dirty};
use crate::flags::Flags;
use crate::identity::Epoch;
use crate::message::{Body, Header, Kind};
use crate::table::{Node, NodeKey};

/// The longest wait before an election, and the longest random one on top.
const WAIT_MAX_MS: u64 = 500;
/// The wait is this part of the node timeout, if that is shorter.
const WAIT_PART: u64 = 10;
/// Wait for each replica with more data.
const RANK_MS: u64 = 1000;
/// Wait for each other shard with a failed primary that goes first.
const FAILED_RANK_MS: u64 = 500;
/// An election lasts this long at least.
const DURATION_MIN_MS: u64 = 2000;

/// Why a replica whose primary has failed does not take over yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holdup {
    /// Its data is too old, or it has none.
    DataAge,
    /// Its wait is not over.
    Delay,
    /// The election found no majority in time.
    Expired,
    /// Votes are missing.
    Votes,
}

/// An election of this node.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When it begins or began.
    at_ms: Option<u64>,
    /// Whether votes were asked for.
    asked: bool,
    /// Its epoch.
    epoch: Epoch,
    /// Who gave a vote.
    votes: BTreeSet<NodeKey>,
    /// The ranks that went into the wait.
    rank: u64,
    failed_rank: u64,
    pub(super) holdup: Option<Holdup>,
}

impl Election {
    /// When it is to be looked at.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.at_ms.filter(|_| !self.asked)
    }

    /// The primary has failed anew: what was planned before doesn't count.
    pub(super) fn forget_unless_asked(&mut self) {
        if !self.asked {
            *self = Election::default();
        }
    }
}

impl Bus {
    /// Goes on with the election, if there is reason for one.
    pub(super) fn run_election(&mut self) {
        let manual = self.manual.may_start(self.now_ms);
        let Some(primary) = self.me().primary.filter(|_| !self.i_am_primary()) else {
            self.election.holdup = None;
            return;
        };
        let failed = self.node_is(primary, Flags::FAIL);
        if !manual && (!failed || self.options.replica_no_failover) {
            self.election.holdup = None;
            return;
        }
        if !manual && !self.data_is_fresh() {
            self.election.holdup = Some(Holdup::DataAge);
            return;
        }
        let duration_ms = self.election_duration_ms();
        let age_ms = self
            .election
            .at_ms
            .map(|at_ms| self.now_ms.saturating_sub(at_ms));
        if age_ms.is_none_or(|age_ms| age_ms > duration_ms * 2) {
            return self.plan_election(primary);
        }
        if !self.election.asked && !self.manual.is_on() {
            self.adjust_wait(primary);
        }
        let at_ms = self.election.at_ms.unwrap_or(self.now_ms);
        if self.now_ms < at_ms {
            self.election.holdup = Some(Holdup::Delay);
        } else if self.now_ms - at_ms > duration_ms {
            self.election.holdup = Some(Holdup::Expired);
        } else if !self.election.asked {
            self.ask_for_votes();
        } else {
            self.count_votes();
        }
    }

    /// How long an election lasts at most.
    pub(super) fn election_duration_ms(&self) -> u64 {
        (self.options.node_timeout_ms * 2).max(DURATION_MIN_MS)
    }

    /// Whether this replica's data is recent enough.
    fn data_is_fresh(&self) -> bool {
        if !self.replication.synced {
            return false;
        }
        let options = &self.options;
        if options.replica_validity_factor == 0 {
            return true;
        }
        let age_ms = self.now_ms.saturating_sub(self.replication.heard_ms);
        // The primary was silent for the timeout before it was found failed.
        let age_ms = age_ms.saturating_sub(options.node_timeout_ms);
        let allowed = options.node_timeout_ms * options.replica_validity_factor;
        age_ms <= options.ping_replica_period_ms + allowed
    }

    fn plan_election(&mut self, primary: NodeKey) {
        let wait_ms = (self.options.node_timeout_ms / WAIT_PART).min(WAIT_MAX_MS);
        let (rank, failed_rank) = (self.replica_rank(primary), self.failed_rank(primary));
        let mut at_ms = self.now_ms + wait_ms + self.random.below(wait_ms.max(1));
        at_ms += rank * RANK_MS + failed_rank * FAILED_RANK_MS;
        if self.manual.is_on() {
            at_ms = self.now_ms;
        }
        self.election = Election {
            at_ms: Some(at_ms),
            rank,
            failed_rank,
            holdup: Some(Holdup::Delay),
            ..Election::default()
        };
        let delay_ms = at_ms - self.now_ms;
        let offset = self.my_offset();
        self.note(format!(
            "Start of election in {delay_ms} ms (rank #{rank}, failed-primary rank #{failed_rank}, offset {offset})"
        ));
        self.tell_siblings(primary);
        if self.manual.is_on() {
            self.ask_for_votes();
        }
    }

    /// Lets the other replicas of the shard know this one's offset.
    fn tell_siblings(&mut self, primary: NodeKey) {
        let siblings: Vec<NodeKey> = self
            .table
            .replicas(primary)
            .map(|(key, _)| key)
            .filter(|key| *key != self.myself)
            .collect();
        for key in siblings {
            if let Some(link) = self.node(key).and_then(|node| node.link) {
                self.send_heartbeat(link, Kind::Pong);
            }
        }
    }

    /// Moves the beginning if other replicas turned out to have more data or
    /// less than thought.
    fn adjust_wait(&mut self, primary: NodeKey) {
        let (rank, failed_rank) = (self.replica_rank(primary), self.failed_rank(primary));
        let Some(at_ms) = self.election.at_ms else {
            return;
        };
        let old = self.election.rank * RANK_MS + self.election.failed_rank * FAILED_RANK_MS;
        let new = rank * RANK_MS + failed_rank * FAILED_RANK_MS;
        self.election.at_ms = Some((at_ms + new).saturating_sub(old));
        self.election.rank = rank;
        self.election.failed_rank = failed_rank;
    }

    /// How many replicas of the same primary have more data, or as much and a
    /// smaller name.
    pub(super) fn replica_rank(&self, primary: NodeKey) -> u64 {
        let (mine, my_id) = (self.my_offset(), self.me().id);
        let better = |node: &Node| {
            !node.is(Flags::NOFAILOVER | Flags::MYSELF | Flags::FAIL)
                && (node.offset > mine || (node.offset == mine && node.id < my_id))
        };
        let replicas = self.table.replicas(primary);
        replicas.filter(|(_, node)| better(node)).count() as u64
    }

    /// How many other shards with a failed primary and a replica go first, by name.
    fn failed_rank(&self, primary: NodeKey) -> u64 {
        let Some(mine) = self.node(primary).map(|node| node.shard) else {
            return 0;
        };
        let first = |key: NodeKey, node: &Node| {
            key != primary
                && node.votes()
                && node.is(Flags::FAIL)
                && node.shard < mine
                && self.table.working_replicas(key) > 0
        };
        let nodes = self.table.iter();
        nodes.filter(|(key, node)| first(*key, node)).count() as u64
    }

    fn ask_for_votes(&mut self) {
        self.current_epoch = self.current_epoch.max(self.table.max_epoch()).next();
        self.election.epoch = self.current_epoch;
        self.election.asked = true;
        self.election.votes.clear();
        self.election.holdup = Some(Holdup::Votes);
        self.note(format!(
            "Standing for election in epoch {}",
            self.current_epoch
        ));
        self.save(Dirty::Sync);
        self.broadcast(&Body::AuthRequest);
    }

    /// A vote came in. It counts for the epoch in which it was given.
    pub(super) fn got_vote(&mut self, voter: NodeKey, header: &Header) {
        let counts = self.election.asked
            && header.current_epoch == self.election.epoch
            && self.node(voter).is_some_and(Node::votes);
        if counts {
            self.election.votes.insert(voter);
            self.run_election();
        }
    }

    fn count_votes(&mut self) {
        if self.election.votes.len() < self.majority() {
            self.election.holdup = Some(Holdup::Votes);
            return;
        }
        let epoch = self.election.epoch;
        self.note(format!(
            "Elected in epoch {epoch}: this node is a primary now"
        ));
        let me = self.me_mut();
        me.config_epoch = me.config_epoch.max(epoch);
        self.elected = Some(epoch);
        self.replace_primary();
    }
}
