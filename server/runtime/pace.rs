//! When the tree takes over what was written: soon after the writes stop, so that
//! the log's tail is short at a restart; under steady writes, however slow, with a
//! pause that is a multiple of the last checkpoint's duration, so that the tree
//! never takes more than a small share of a core; at once when the log's tail
//! passes a limit.

use std::time::{Duration, Instant};

use redoubt_persistence::log::Offset;

use crate::config::{DirectiveId, id};
use crate::state::Server;

/// A pause after a checkpoint lasts this many times the checkpoint.
const PAUSE_FACTOR: u32 = 6;
/// No more than this long, whatever the checkpoint took.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// After so long without writes there is none: they have stopped.
const QUIET: Duration = Duration::from_secs(2);
/// At least this much log is worth a checkpoint under steady writes.
const WORTHWHILE_BYTES: u64 = 16 << 20;
/// Beyond this much log there is no pause.
const URGENT_BYTES: u64 = 4 << 30;
/// Time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of the writes and of the last checkpoint.
pub struct Pace {
    /// The end of the pause.
    next: Instant,
    last_end: Offset,
    wrote_at: Instant,
    /// Nothing was written between the last two looks.
    pub idle: bool,
}

impl Pace {
    /// With a log that ends there.
    pub fn new(end: Offset) -> Pace {
        Pace {
            next: Instant::now(),
            last_end: end,
            wrote_at: Instant::now(),
            idle: false,
        }
    }

    /// Looks where the log ends.
    pub fn look(&mut self, end: Offset) {
        self.idle = std::mem::replace(&mut self.last_end, end) == end;
        if !self.idle {
            self.wrote_at = Instant::now();
        }
    }

    /// The time since writes were last seen.
    pub fn quiet(&self) -> Duration {
        self.wrote_at.elapsed()
    }

    /// Whether the pause is over.
    pub fn has_waited(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Whether a checkpoint of a tail of so many bytes is due; there is no pause
    /// beyond `urgent` ([`urgent_bytes`]).
    pub fn is_due(&self, tail: u64, urgent: u64) -> bool {
        let idle = self.idle && (self.has_waited() || self.quiet() >= QUIET);
        idle || tail >= urgent || (tail >= WORTHWHILE_BYTES && self.has_waited())
    }

    /// A checkpoint was made, with so much work.
    pub fn made(&mut self, worked: Duration) {
        self.next = Instant::now() + (worked * PAUSE_FACTOR).min(MAX_PAUSE);
    }

    /// Something failed: it is tried again after a moment.
    pub fn failed(&mut self) {
        self.next = Instant::now() + RETRY;
    }
}

/// The log's tail beyond which there is no pause: well before writers are
/// slowed.
pub fn urgent_bytes(server: &Server) -> u64 {
    const SLOW: DirectiveId = id("tree-lag-slow");
    let urgent = match server.config.read().integer(SLOW).max(0) as u64 {
        0 => URGENT_BYTES,
        slow => URGENT_BYTES.min(slow / 2),
    };
    crate::eviction::urgent_lag(server).map_or(urgent, |lag| lag.min(urgent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_slowly_does_not_get_a_checkpoint_for_each_write() {
        let mut pace = Pace::new(Offset(0));
        pace.look(Offset(7));
        assert!(!pace.idle && !pace.is_due(7, u64::MAX));
        pace.look(Offset(7));
        assert!(pace.idle && pace.is_due(7, u64::MAX));
        pace.made(Duration::from_secs(60));
        for end in [9, 11, 13] {
            pace.look(Offset(end));
            pace.look(Offset(end));
            assert!(pace.idle && !pace.is_due(2, u64::MAX));
        }
        // There is something to take over at once, or the writes have stopped.
        assert!(pace.is_due(2, 2));
        pace.wrote_at = Instant::now()
            .checked_sub(QUIET)
            .expect("it is up that long");
        assert!(pace.is_due(2, u64::MAX));
        // A small one is followed by the next.
        pace.made(Duration::ZERO);
        pace.look(Offset(15));
        assert!(!pace.is_due(2, u64::MAX) && pace.is_due(WORTHWHILE_BYTES, u64::MAX));
    }
}
