//! What is known of snapshot files (SAVE, BGSAVE, `save` points): which is
//! under way, and how the last ones went. The work is done in
//! `runtime/save.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How snapshots go.
#[derive(Default)]
pub struct Saves {
    state: Mutex<State>,
    bell: Condvar,
    cancelled: AtomicBool,
    /// Keys written of the snapshot under way.
    pub keys_done: AtomicU64,
    /// Keys that it has to write, about.
    pub keys_total: AtomicU64,
    /// A pure cache has no tree: changes are kept for a snapshot just now, and
    /// flushed databases must stay.
    pub walking: AtomicBool,
    /// Held for as long, and by whoever gives the cache a tree after all.
    pub tracking_turn: Mutex<()>,
    /// Held while a snapshot is written and read back (DEBUG RELOAD), of which there
    /// is one at a time; and by who applies a primary's stream: what came in between
    /// would be lost.
    pub reload_turn: Mutex<()>,
    /// Keys of the last file that was loaded, and those left out because they
    /// had expired.
    pub loaded: (AtomicU64, AtomicU64),
    /// BGREWRITEAOF: runs, and the number of the checkpoint that the last one
    /// asked for.
    pub rewrites: (AtomicU64, AtomicU64),
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    requested: bool,
    ended: bool,
    last: Option<Last>,
    saves: u64,
}

#[derive(Clone, Copy)]
struct Running {
    since: Instant,
    background: bool,
}

/// How the last background snapshot went.
#[derive(Clone, Copy)]
struct Last {
    succeeded: bool,
    took_s: u64,
    ended: Instant,
}

/// A snapshot is being written already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProgress;

/// Figures for INFO.
pub struct Figures {
    /// Seconds since the background snapshot under way began.
    pub running_s: Option<u64>,
    /// Whether the last one succeeded; true if there was none.
    pub last_succeeded: bool,
    /// How long it took in seconds.
    pub last_took_s: Option<u64>,
    /// Snapshots that succeeded, SAVE included.
    pub saves: u64,
}

impl Saves {
    /// Begins a snapshot on this thread: there is but one at a time.
    pub fn begin(&self) -> Result<(), InProgress> {
        self.start(&mut self.state.lock(), false)
    }

    /// Asks for a snapshot in the background.
    pub fn request(&self) -> Result<(), InProgress> {
        let mut state = self.state.lock();
        self.start(&mut state, true)?;
        state.requested = true;
        self.bell.notify_all();
        Ok(())
    }

    fn start(&self, state: &mut State, background: bool) -> Result<(), InProgress> {
        if state.running.is_some() {
            return Err(InProgress);
        }
        state.running = Some(Running {
            since: Instant::now(),
            background,
        });
        self.cancelled.store(false, Ordering::Relaxed);
        self.keys_done.store(0, Ordering::Relaxed);
        self.keys_total.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Notes how the snapshot under way ended.
    pub fn end(&self, succeeded: bool) {
        let mut state = self.state.lock();
        let Some(running) = state.running.take() else {
            return;
        };
        if succeeded {
            state.saves += 1;
        }
        if running.background {
            state.last = Some(Last {
                succeeded,
                took_s: running.since.elapsed().as_secs(),
                ended: Instant::now(),
            });
        }
        self.bell.notify_all();
    }

    /// Breaks off the snapshot in the background; false if there is none.
    pub fn cancel(&self) -> bool {
        let state = self.state.lock();
        let background = state.running.is_some_and(|running| running.background);
        if background {
            self.cancelled.store(true, Ordering::Relaxed);
            self.bell.notify_all();
        }
        background
    }

    /// Whether the snapshot under way is to be broken off.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Waits so long, or until the snapshot is cancelled.
    pub fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while !self.is_cancelled() && !state.ended {
            if self.bell.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Waits until a snapshot in the background is asked for, at most so
    /// long. None: there will be no more.
    pub fn next_request(&self, time: Duration) -> Option<bool> {
        let mut state = self.state.lock();
        if !state.requested && !state.ended {
            self.bell.wait_for(&mut state, time);
        }
        if state.ended {
            return None;
        }
        Some(std::mem::take(&mut state.requested))
    }

    /// Ends the thread that makes snapshots, and the one under way.
    pub fn shut_down(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        self.cancelled.store(true, Ordering::Relaxed);
        self.bell.notify_all();
    }

    /// Seconds since the last background snapshot failed; None if it did not.
    pub fn failed_since(&self) -> Option<Duration> {
        let last = self.state.lock().last.filter(|last| !last.succeeded);
        last.map(|last| last.ended.elapsed())
    }

    /// Figures for INFO.
    pub fn figures(&self) -> Figures {
        let state = self.state.lock();
        let running = state.running.filter(|running| running.background);
        Figures {
            running_s: running.map(|running| running.since.elapsed().as_secs()),
            last_succeeded: state.last.is_none_or(|last| last.succeeded),
            last_took_s: state.last.map(|last| last.took_s),
            saves: state.saves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_snapshot_at_a_time_and_only_one_in_the_background_is_cancelled() {
        let saves = Saves::default();
        assert_eq!(saves.begin(), Ok(()));
        assert_eq!(saves.request(), Err(InProgress));
        assert!(!saves.cancel());
        saves.end(true);
        assert_eq!(saves.request(), Ok(()));
        assert_eq!(saves.begin(), Err(InProgress));
        assert_eq!(saves.next_request(Duration::ZERO), Some(true));
        assert!(saves.figures().running_s.is_some());
        assert!(saves.cancel() && saves.is_cancelled());
        saves.end(false);
        let figures = saves.figures();
        assert!(figures.running_s.is_none() && !figures.last_succeeded && figures.saves == 1);
        saves.shut_down();
        assert_eq!(saves.next_request(Duration::from_secs(60)), None);
    }
}
