//! Counters for INFO, LATENCY, SLOWLOG.

mod histogram;
mod sets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub use histogram::Histogram;
pub use sets::{Sets, Total, begin_worker};

/// Counters of one command's failures.
#[derive(Default)]
pub struct CommandStats {
    /// Refused before it ran.
    pub rejected: AtomicU64,
    /// Ended with an error.
    pub failed: AtomicU64,
}

/// One log of COMMANDLOG, newest first.
#[derive(Default)]
pub struct CommandLog {
    /// The entries.
    pub entries: Mutex<std::collections::VecDeque<SlowEntry>>,
    next_id: AtomicU64,
}

impl CommandLog {
    /// A fresh id.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Figures per second.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rates {
    /// Commands.
    pub commands: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// Where the last rates were taken.
struct RateSample {
    at: std::time::Instant,
    counts: [u64; 3],
    rates: Rates,
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
pub struct Stats {
    /// What every request touches.
    pub sets: Sets,
    /// By position in the command table.
    commands: Vec<CommandStats>,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused (maxclients).
    pub rejected_connections: AtomicU64,
    /// Keys that expired.
    pub expired: AtomicU64,
    /// What the removal of expired keys that nobody asks for took, nanoseconds.
    pub expiry_nanos: AtomicU64,
    /// How often its share of time did not suffice.
    pub expiry_cut_short: AtomicU64,
    /// Clients closed for `client-query-buffer-limit`.
    pub query_limit_closes: AtomicU64,
    /// Error replies by their first word; see [`Stats::count_error`].
    pub errors: Mutex<BTreeMap<String, u64>>,
    /// Slow commands.
    pub slow: CommandLog,
    /// Commands with large requests.
    pub large_requests: CommandLog,
    /// Commands with large replies.
    pub large_replies: CommandLog,
    /// Latency events (LATENCY).
    pub latency: crate::latency::Monitor,
    /// When the last SAVE or BGSAVE ended well, Unix seconds; 0: not since
    /// the start.
    pub last_save_s: AtomicU64,
    /// Memory in use after the start, bytes.
    pub startup_memory: AtomicU64,
    /// The most memory seen in use, bytes.
    peak_memory: AtomicU64,
    sample: Mutex<Option<RateSample>>,
}

impl Stats {
    /// Counters for this many commands.
    pub fn new(commands: usize) -> Stats {
        Stats {
            sets: Sets::new(commands),
            commands: (0..commands).map(|_| CommandStats::default()).collect(),
            connections: AtomicU64::default(),
            rejected_connections: AtomicU64::default(),
            expired: AtomicU64::default(),
            expiry_nanos: AtomicU64::default(),
            expiry_cut_short: AtomicU64::default(),
            query_limit_closes: AtomicU64::default(),
            errors: Mutex::default(),
            slow: CommandLog::default(),
            large_requests: CommandLog::default(),
            large_replies: CommandLog::default(),
            latency: crate::latency::Monitor::default(),
            last_save_s: AtomicU64::default(),
            startup_memory: AtomicU64::new(crate::memory::used_bytes()),
            peak_memory: AtomicU64::default(),
            sample: Mutex::default(),
        }
    }

    /// The failures of a command, by its number in the table.
    #[inline]
    pub fn commands_of(&self, number: usize) -> &CommandStats {
        &self.commands[number]
    }

    /// Counts an error reply by its first word. Scripts may answer with any, so
    /// a text that begins with no word of the usual length counts as `ERR`, and
    /// beyond some number of words all further ones count as one.
    pub fn count_error(&self, text: &str) {
        const LONGEST_WORD: usize = 30;
        const MOST_WORDS: usize = 128;
        const FURTHER: &str = "ERRORSTATS_OVERFLOW";
        let word = text.split_once(' ').map_or("ERR", |(word, _)| word);
        let word = if word.len() > LONGEST_WORD {
            "ERR"
        } else {
            word
        };
        let mut errors = self.errors.lock();
        let room = errors.len() < MOST_WORDS;
        if let Some(count) = errors.get_mut(word) {
            *count += 1;
        } else {
            let word = if room { word } else { FURTHER };
            *errors.entry(word.to_owned()).or_default() += 1;
        }
    }

    /// The most memory seen in use, with `used` bytes now.
    pub fn peak_memory(&self, used: u64) -> u64 {
        self.peak_memory
            .fetch_max(used, Ordering::Relaxed)
            .max(used)
    }

    /// What happened per second between the last two askings that lie at
    /// least a tenth of a second apart.
    pub fn rates(&self) -> Rates {
        let counts =
            [Total::Processed, Total::BytesIn, Total::BytesOut].map(|total| self.sets.total(total));
        let now = std::time::Instant::now();
        let mut sample = self.sample.lock();
        let Some(last) = &*sample else {
            let rates = Rates::default();
            *sample = Some(RateSample {
                at: now,
                counts,
                rates,
            });
            return rates;
        };
        let seconds = now.duration_since(last.at).as_secs_f64();
        if seconds < 0.1 {
            return last.rates;
        }
        let rate = |at: usize| (counts[at].saturating_sub(last.counts[at]) as f64 / seconds) as u64;
        let rates = Rates {
            commands: rate(0),
            bytes_in: rate(1),
            bytes_out: rate(2),
        };
        *sample = Some(RateSample {
            at: now,
            counts,
            rates,
        });
        rates
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.sets.reset();
        for stats in &self.commands {
            for counter in [&stats.rejected, &stats.failed] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        for counter in [
            &self.connections,
            &self.rejected_connections,
            &self.expired,
            &self.expiry_nanos,
            &self.expiry_cut_short,
            &self.query_limit_closes,
            &self.peak_memory,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.errors.lock().clear();
        *self.sample.lock() = None;
    }
}

/// Counts of one connection on their way into [`Stats`]: a pipeline of equal
/// commands touches the shared counters once.
#[derive(Default)]
pub struct Tally {
    number: usize,
    calls: u64,
    ticks: u64,
    /// Look-ups that found their key.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Changes.
    pub dirty: u64,
}

impl Tally {
    /// Counts one run of a command, in ticks of [`crate::clock::Ticks`].
    #[inline]
    pub fn count(&mut self, stats: &Stats, number: usize, ticks: u64) {
        self.count_quick(stats, number, 1);
        self.ticks += ticks;
    }

    /// Counts runs of a quick command that are timed with the one behind them.
    #[inline]
    pub fn count_quick(&mut self, stats: &Stats, number: usize, calls: u64) {
        if self.number != number {
            self.flush(stats);
            self.number = number;
        }
        self.calls += calls;
    }

    /// Hands everything over.
    pub fn flush(&mut self, stats: &Stats) {
        let sets = &stats.sets;
        if self.calls != 0 {
            let nanos = crate::clock::nanos_of(self.ticks);
            sets.add_runs(self.number, self.calls, nanos);
        }
        for (count, total) in [
            (self.hits, Total::Hits),
            (self.misses, Total::Misses),
            (self.dirty, Total::Dirty),
        ] {
            if count != 0 {
                sets.add(total, count);
            }
        }
        *self = Tally {
            number: self.number,
            ..Tally::default()
        };
    }
}

/// Adds to a counter that nobody else adds to at the same time; cheaper.
#[inline]
pub fn add_alone(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Adds to a counter.
#[inline]
pub fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
