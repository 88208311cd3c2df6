//! What this node may have missed, and how it finds out: while its process was
//! stopped, or while it waited in vain for word of another node, the cluster
//! went on. What its table says may be over then, and so may what lies in its
//! sockets: only answers to PINGs that are sent from now on tell more. Those
//! who answer know of newer owners of its slots, and tell it (UPDATE).

use super::{Bus, tick};
use crate::flags::Flags;

/// A tick that comes so much too late means that this node slept.
const SLEEP_MS: u64 = 500;
/// A sleep of more than this part of the node timeout may have cost a primary
/// its role, and makes silence of the others its own.
const LONG_PART: u64 = 2;
/// A majority answers so many times before an inquiry has an outcome: what one
/// of them knows better may come right behind its first answer.
const ROUNDS: u32 = 2;

/// Since when answers count, Unix milliseconds; 0: always.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// When this node last woke up.
    woke_ms: u64,
    /// When it last woke up from a long sleep.
    woke_late_ms: u64,
    /// When an inquiry's last round began.
    asked_ms: u64,
}

impl Doubt {
    /// Voting primaries whose last answer was to an earlier PING are asked.
    pub(super) fn since_ms(&self) -> u64 {
        self.woke_ms.max(self.asked_ms)
    }

    /// Silence of others before that counts for nothing.
    pub(super) fn woke_late_ms(&self) -> u64 {
        self.woke_late_ms
    }
}

/// A question to all voting primaries: whether they know better. See
/// [`Bus::inquire`].
#[derive(Debug, Default)]
pub struct Inquiry {
    began_ms: Option<u64>,
    rounds: u32,
}

impl Bus {
    /// Takes over the time, and notices if much of it has passed unseen.
    pub(super) fn advance(&mut self, now_ms: u64) {
        self.now_ms = now_ms.max(self.now_ms);
        let slept_ms = self.now_ms.saturating_sub(self.next_tick_ms);
        if slept_ms > SLEEP_MS {
            self.doubt.woke_ms = self.now_ms;
        }
        let long_ms = (self.options.node_timeout_ms / LONG_PART).max(tick::PERIOD_MS);
        if slept_ms > long_ms {
            self.doubt.woke_late_ms = self.now_ms;
        }
    }

    /// Whether a majority of the voting primaries has answered PINGs that were
    /// sent since then. This node is one of them.
    fn majority_answered(&self, since_ms: u64) -> bool {
        let answered = self.table.iter().filter(|(key, node)| {
            let failed = node.is(Flags::FAIL | Flags::PFAIL);
            let answers = node.answered_ms >= since_ms && !failed;
            node.votes() && (*key == self.myself || answers)
        });
        answered.count() >= self.majority()
    }

    /// Whether this node knows where the cluster stands: it has not slept for
    /// long, or has heard of a majority since.
    pub(super) fn is_up_to_date(&self) -> bool {
        let woke_ms = self.doubt.woke_late_ms;
        woke_ms == 0 || self.majority_answered(woke_ms)
    }

    /// Carries on an inquiry, or begins it, anew if this node slept since.
    /// True when a majority has just answered, for the second time or a later
    /// one: what this node believes then, no majority knows better.
    pub fn inquire(&mut self, inquiry: &mut Inquiry) -> bool {
        let woke_ms = self.doubt.woke_ms;
        let Some(began_ms) = inquiry.began_ms.filter(|at_ms| *at_ms >= woke_ms) else {
            inquiry.rounds = 0;
            self.begin_round(inquiry);
            return false;
        };
        if !self.majority_answered(began_ms) {
            return false;
        }
        inquiry.rounds = inquiry.rounds.saturating_add(1);
        self.begin_round(inquiry);
        inquiry.rounds >= ROUNDS
    }

    fn begin_round(&mut self, inquiry: &mut Inquiry) {
        inquiry.began_ms = Some(self.now_ms);
        self.doubt.asked_ms = self.now_ms;
    }
}
