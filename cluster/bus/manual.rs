//! Manual failover: an operator asks a replica to take over from a primary
//! that works. By default the primary first holds back its clients' writes,
//! and the replica waits until it has all data, so nothing is lost.
//!
//! It and a slot's change of hands exclude each other: who is elected claims
//! the slots that its primary had, and a primary that has granted a slot has
//! given it away. So a primary that hands itself over grants and claims no
//! slot, and one that has granted slots answers no replica and votes for none
//! until it is known what became of them.

use super::{Bus, Output};
use crate::message::{Body, Kind};
use crate::table::NodeKey;

/// The primary holds back writes for this many times the failover's limit.
const PAUSE_LIMITS: u64 = 2;

/// A primary that does not know its new replica yet passes over its request:
/// after so long without an answer it is sent again.
const ASK_AGAIN_MS: u64 = 500;

/// A manual failover that is under way, on either side.
#[derive(Debug, Default)]
pub(super) struct Manual {
    /// When it is given up.
    end_ms: Option<u64>,
    /// At the primary: the replica that asked.
    pub(super) replica: Option<NodeKey>,
    /// At the replica: the offset at which the primary held back writes.
    target: Option<u64>,
    /// At the replica: when the primary was asked last.
    asked_ms: Option<u64>,
    /// At the primary: whether writes are held back.
    held: bool,
    /// At the replica: whether the election may begin.
    ready: bool,
}

impl Manual {
    /// Whether one is under way.
    pub(super) fn is_on(&self) -> bool {
        self.end_ms.is_some()
    }

    /// Whether this primary holds back writes for it.
    pub(super) fn holds_writes(&self) -> bool {
        self.is_on() && self.held
    }

    /// Whether this replica may ask for votes. Not once the time is over: the
    /// primary may take writes again.
    pub(super) fn may_start(&self, now_ms: u64) -> bool {
        self.ready && self.end_ms.is_some_and(|end_ms| now_ms <= end_ms)
    }
}

/// Slots that this primary has granted and that nobody has claimed yet, and
/// what waits for that or speaks against it.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// How many there are.
    open: usize,
    /// A replica that asked meanwhile to take over, and when.
    asked: Option<(NodeKey, u64)>,
    /// When a replica of this primary got its vote last.
    voted_ms: Option<u64>,
}

impl Grants {
    /// Whether it is not known yet what became of slots that were granted.
    pub(super) fn any(&self) -> bool {
        self.open != 0
    }
}

impl Bus {
    /// Whether a replica of this primary may be about to take over: it is being
    /// waited for, or has got this node's vote in an election that may last.
    pub(super) fn hands_over(&self) -> bool {
        let lasts_ms = self.election_duration_ms();
        let voted = self.grants.voted_ms;
        self.manual.is_on() || voted.is_some_and(|at_ms| self.now_ms <= at_ms + lasts_ms)
    }

    /// This primary voted for a replica of its own.
    pub(super) fn voted_for_own(&mut self) {
        self.grants.voted_ms = Some(self.now_ms);
    }

    /// The election that this primary voted in is over: it is a replica now.
    pub(super) fn is_succeeded(&mut self) {
        self.grants.voted_ms = None;
    }

    /// One grant more of which it is not known what becomes of it.
    pub(super) fn note_grant(&mut self) {
        self.grants.open += 1;
    }

    /// It is known what became of slots that were granted. A replica that asked
    /// to take over meanwhile is answered now, unless that is long ago.
    pub fn end_grant(&mut self) {
        self.grants.open = self.grants.open.saturating_sub(1);
        if self.grants.any() {
            return;
        }
        let limit_ms = self.options.manual_failover_timeout_ms;
        if let Some((replica, at_ms)) = self.grants.asked.take()
            && self.now_ms < at_ms + limit_ms
        {
            self.asked_to_pause(replica);
        }
    }

    /// A replica of this primary asks it to hold back writes.
    pub(super) fn asked_to_pause(&mut self, sender: NodeKey) {
        let mine = self.node(sender).and_then(|node| node.primary) == Some(self.myself);
        if !mine || !self.i_am_primary() {
            return;
        }
        if self.grants.any() {
            self.grants.asked = Some((sender, self.now_ms));
            return self
                .note("A replica may take over once the slots that were granted are claimed");
        }
        // Asked again it goes on holding back writes, without a gap.
        if self.manual.replica != Some(sender) {
            self.reset_manual();
        }
        let limit_ms = self.options.manual_failover_timeout_ms;
        self.manual.end_ms = Some(self.now_ms + limit_ms);
        self.manual.replica = Some(sender);
        let until_ms = self.now_ms + limit_ms * PAUSE_LIMITS;
        self.emit(Output::PauseWrites(Some(until_ms)));
        self.note("A replica takes over: writes are held back");
    }

    /// Writes are held back, from this offset on: now the replica may know.
    pub(super) fn writes_paused(&mut self, offset: u64) {
        let Some(replica) = self.manual.replica.filter(|_| self.manual.is_on()) else {
            return;
        };
        self.manual.held = true;
        self.replication.offset = self.replication.offset.max(offset);
        if let Some(link) = self.node(replica).and_then(|node| node.link) {
            self.send_heartbeat(link, Kind::Ping);
        }
    }

    /// This node's primary has held back writes at this offset.
    pub(super) fn primary_paused_at(&mut self, offset: u64) {
        if self.manual.is_on() && !self.manual.ready {
            self.manual.target = self.manual.target.max(Some(offset));
        }
    }

    /// Begins one at this replica. `forced`: without asking the primary.
    pub(super) fn begin_manual(&mut self, forced: bool) {
        self.reset_manual();
        self.election = super::election::Election::default();
        let limit_ms = self.options.manual_failover_timeout_ms;
        self.manual.end_ms = Some(self.now_ms + limit_ms);
        self.manual.ready = forced;
        if !forced {
            self.ask_primary_to_pause();
        }
    }

    fn ask_primary_to_pause(&mut self) {
        if let Some(primary) = self.me().primary {
            self.manual.asked_ms = Some(self.now_ms);
            self.send_to(primary, Body::ManualStart);
        }
    }

    /// Ends one, whatever its outcome.
    pub(super) fn reset_manual(&mut self) {
        if self.manual.replica.is_some() {
            self.emit(Output::PauseWrites(None));
        }
        self.manual = Manual::default();
    }

    /// Gives up one that takes too long, and lets one begin whose replica has
    /// all data.
    pub(super) fn run_manual(&mut self) {
        let over = |end_ms: u64| end_ms < self.now_ms;
        if self.manual.end_ms.is_some_and(over) {
            self.note("The manual failover took too long and was given up");
            self.reset_manual();
        }
        let unanswered = self.manual.target.is_none() && !self.manual.ready;
        let long_ago = |asked_ms: u64| self.now_ms >= asked_ms + ASK_AGAIN_MS;
        if unanswered && self.manual.asked_ms.is_some_and(long_ago) {
            self.ask_primary_to_pause();
        }
        let offset = self.replication.offset;
        let reached = self.manual.target.is_some_and(|target| offset >= target);
        let has_all = reached && self.replication.synced;
        if self.manual.is_on() && !self.manual.ready && has_all && !self.i_am_primary() {
            self.manual.ready = true;
        }
    }
}
