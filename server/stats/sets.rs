//! The counters that requests touch, a set of them for each worker.
//!
//! Only its worker adds to a set: that takes no locked instruction, and no line
//! goes from one processor's cache to another's. All other threads share one
//! set. What is told is the sum of all, less what there was at the last reset.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::{Counts, Histogram};
use super::{add, add_alone};

/// Workers with a set of their own; further ones share the first with all other
/// threads.
const WORKERS: usize = 256;

thread_local! {
    /// Which set is this thread's.
    static SET: Cell<usize> = const { Cell::new(0) };
}

/// Gives the calling thread a worker's set. No two threads of a server may be the
/// same worker.
pub fn begin_worker(worker: usize) {
    if worker < WORKERS {
        SET.set(worker + 1);
    }
}

/// What is counted for the server as a whole.
#[derive(Clone, Copy)]
pub enum Total {
    /// Commands run.
    Processed,
    /// Look-ups that found their key.
    Hits,
    /// Look-ups that did not.
    Misses,
    /// Bytes received.
    BytesIn,
    /// Bytes sent.
    BytesOut,
    /// Changes since the last save.
    Dirty,
}

const TOTALS: usize = Total::Dirty as usize + 1;

/// What is counted for one command.
#[derive(Default)]
struct Runs {
    calls: AtomicU64,
    nanos: AtomicU64,
    latency: Histogram,
}

#[repr(align(64))]
struct Set {
    is_shared: bool,
    totals: [AtomicU64; TOTALS],
    /// By position in the command table.
    commands: Box<[Runs]>,
}

impl Set {
    fn new(commands: usize, is_shared: bool) -> Box<Set> {
        Box::new(Set {
            is_shared,
            totals: Default::default(),
            commands: (0..commands).map(|_| Runs::default()).collect(),
        })
    }

    #[inline]
    fn add(&self, counter: &AtomicU64, by: u64) {
        match self.is_shared {
            true => add(counter, by),
            false => add_alone(counter, by),
        }
    }
}

/// All sets.
pub struct Sets {
    sets: Box<[OnceLock<Box<Set>>]>,
    /// What there was at the last reset.
    before: Box<Set>,
    commands: usize,
}

impl Sets {
    /// For this many commands.
    pub fn new(commands: usize) -> Sets {
        Sets {
            sets: (0..=WORKERS).map(|_| OnceLock::new()).collect(),
            before: Set::new(commands, true),
            commands,
        }
    }

    /// The calling thread's.
    #[inline]
    fn own(&self) -> &Set {
        let at = SET.get();
        self.sets[at].get_or_init(|| Set::new(self.commands, at == 0))
    }

    /// Adds to a total.
    #[inline]
    pub fn add(&self, total: Total, by: u64) {
        let set = self.own();
        set.add(&set.totals[total as usize], by);
    }

    /// Counts runs of a command that took `nanos` together; each counts with
    /// their mean.
    #[inline]
    pub fn add_runs(&self, number: usize, calls: u64, nanos: u64) {
        let set = self.own();
        let runs = &set.commands[number];
        set.add(&runs.calls, calls);
        set.add(&runs.nanos, nanos);
        let mean = match calls {
            1 => nanos,
            _ => nanos / calls,
        };
        set.add(runs.latency.counter(mean), calls);
        set.add(&set.totals[Total::Processed as usize], calls);
    }

    fn all(&self) -> impl Iterator<Item = &Set> {
        self.sets
            .iter()
            .filter_map(|set| set.get().map(Box::as_ref))
    }

    fn sum(&self, pick: impl Fn(&Set) -> &AtomicU64) -> u64 {
        let all = self.all().map(|set| pick(set).load(Ordering::Relaxed));
        all.fold(0, u64::wrapping_add)
    }

    fn since_reset(&self, pick: impl Fn(&Set) -> &AtomicU64) -> u64 {
        let before = pick(&self.before).load(Ordering::Relaxed);
        self.sum(pick).saturating_sub(before)
    }

    /// What was added to a total.
    pub fn total(&self, total: Total) -> u64 {
        self.since_reset(|set| &set.totals[total as usize])
    }

    /// Takes from a total what has been dealt with.
    pub fn take(&self, total: Total, by: u64) {
        add(&self.before.totals[total as usize], by);
    }

    /// How often a command ran.
    pub fn calls(&self, number: usize) -> u64 {
        self.since_reset(|set| &set.commands[number].calls)
    }

    /// What its runs took, nanoseconds.
    pub fn nanos(&self, number: usize) -> u64 {
        self.since_reset(|set| &set.commands[number].nanos)
    }

    /// How long each of its runs took.
    pub fn latency(&self, number: usize) -> Counts {
        let before = &self.before.commands[number].latency;
        self.latency_ever(number).less(before)
    }

    fn latency_ever(&self, number: usize) -> Counts {
        let runs = self.all().map(|set| &set.commands[number].latency);
        runs.fold(Counts::default(), Counts::and)
    }

    /// Begins again with all but the changes, which count from the last save.
    pub fn reset(&self) {
        for (at, before) in self.before.totals.iter().enumerate() {
            if at != Total::Dirty as usize {
                before.store(self.sum(|set| &set.totals[at]), Ordering::Relaxed);
            }
        }
        for (number, before) in self.before.commands.iter().enumerate() {
            let calls = self.sum(|set| &set.commands[number].calls);
            let nanos = self.sum(|set| &set.commands[number].nanos);
            before.calls.store(calls, Ordering::Relaxed);
            before.nanos.store(nanos, Ordering::Relaxed);
            before.latency.store(&self.latency_ever(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_and_others_count_is_told_as_one_and_from_the_last_reset_on() {
        let sets = Sets::new(2);
        let count = |worker: Option<usize>| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    if let Some(worker) = worker {
                        begin_worker(worker);
                    }
                    for _ in 0..100 {
                        sets.add(Total::Hits, 2);
                        sets.add(Total::Dirty, 1);
                        sets.add_runs(1, 3, 3 * 5000);
                    }
                });
            });
        };
        for worker in [None, Some(0), Some(WORKERS - 1), Some(WORKERS), Some(0)] {
            count(worker);
        }
        assert_eq!(sets.total(Total::Hits), 1000);
        assert_eq!((sets.calls(0), sets.calls(1)), (0, 1500));
        assert_eq!(sets.nanos(1), 1500 * 5000);
        assert_eq!(sets.latency(1).cumulative().last(), Some(&(8, 1500)));
        assert!(sets.latency(0).cumulative().is_empty());
        sets.reset();
        assert_eq!(sets.total(Total::Hits) + sets.total(Total::Processed), 0);
        assert_eq!((sets.calls(1), sets.nanos(1)), (0, 0));
        assert!(sets.latency(1).cumulative().is_empty());
        count(Some(0));
        assert_eq!((sets.total(Total::Hits), sets.calls(1)), (200, 300));
        assert_eq!(sets.latency(1).cumulative().last(), Some(&(8, 300)));
        sets.take(Total::Dirty, 450);
        assert_eq!(sets.total(Total::Dirty), 150);
    }

    #[test]
    fn nothing_is_lost_where_threads_share_a_set() {
        let sets = Sets::new(1);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..50_000).for_each(|_| sets.add_runs(0, 1, 1)));
            }
        });
        assert_eq!(sets.total(Total::Processed), 100_000);
        assert_eq!(sets.latency(0).cumulative().last(), Some(&(1, 100_000)));
    }
}
