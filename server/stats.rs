//! Counters for INFO, LATENCY, SLOWLOG.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counters of one command.
#[derive(Default)]
pub struct CommandStats {
    /// Runs.
    pub calls: AtomicU64,
    /// Time spent, nanoseconds.
    pub nanos: AtomicU64,
    /// Refused before it ran.
    pub rejected: AtomicU64,
    /// Ended with an error.
    pub failed: AtomicU64,
}

/// One slow command, for SLOWLOG and COMMANDLOG.
#[derive(Clone, Debug)]
pub struct SlowEntry {
    /// Ever growing.
    pub id: u64,
    /// When it ran, Unix seconds.
    pub at_s: i64,
    /// How long, microseconds (or bytes for the large-request and
    /// large-reply logs).
    pub amount: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// Server-wide counters.
#[derive(Default)]
pub struct Stats {
    /// By position in the command table.
    pub commands: Vec<CommandStats>,
    /// Commands run.
    pub processed: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused (maxclients).
    pub rejected_connections: AtomicU64,
    /// Look-ups that found their key.
    pub hits: AtomicU64,
    /// Look-ups that did not.
    pub misses: AtomicU64,
    /// Keys that expired.
    pub expired: AtomicU64,
    /// Changes since the last save.
    pub dirty: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
    /// Error replies by their first word.
    pub errors: Mutex<BTreeMap<String, u64>>,
    /// Slow commands, newest first.
    pub slow: Mutex<std::collections::VecDeque<SlowEntry>>,
    /// The next slow entry's id.
    pub slow_id: AtomicU64,
}

impl Stats {
    /// Counters for this many commands.
    pub fn new(commands: usize) -> Stats {
        Stats {
            commands: (0..commands).map(|_| CommandStats::default()).collect(),
            ..Stats::default()
        }
    }

    /// The counters of a command, by its number in the table.
    #[inline]
    pub fn commands_of(&self, number: usize) -> &CommandStats {
        &self.commands[number]
    }
}

/// Counts of one connection on their way into [`Stats`]: a pipeline of equal
/// commands touches the shared counters once.
#[derive(Default)]
pub struct Tally {
    number: usize,
    calls: u64,
    nanos: u64,
    /// Look-ups that found their key.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Changes.
    pub dirty: u64,
}

impl Tally {
    /// Counts one run of a command.
    #[inline]
    pub fn count(&mut self, stats: &Stats, number: usize, nanos: u64) {
        if self.number != number {
            self.flush(stats);
            self.number = number;
        }
        self.calls += 1;
        self.nanos += nanos;
    }

    /// Hands everything over.
    pub fn flush(&mut self, stats: &Stats) {
        if self.calls != 0 {
            let command = stats.commands_of(self.number);
            add(&command.calls, self.calls);
            add(&command.nanos, self.nanos);
            add(&stats.processed, self.calls);
        }
        for (count, total) in [
            (self.hits, &stats.hits),
            (self.misses, &stats.misses),
            (self.dirty, &stats.dirty),
        ] {
            if count != 0 {
                add(total, count);
            }
        }
        *self = Tally {
            number: self.number,
            ..Tally::default()
        };
    }
}

/// Adds to a counter.
#[inline]
pub fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
