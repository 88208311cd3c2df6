//! When the writer begins a group under `always`.
//!
//! A thread that serves many clients works in *rounds*: it runs what has
//! arrived from all of them, then sleeps until more does. All that a round
//! appends should be made durable by one sync, so such a thread wakes the
//! writer at the end of its round, not with its first append. Appends of other
//! threads wake it at once.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use super::shared::Shared;
use super::{Log, SyncPolicy};

/// So many bytes are written before the round is over: the disk works while
/// commands go on.
const LARGE_BYTES: usize = 64 << 10;

thread_local! {
    /// Bytes appended in this round; `None` on a thread without rounds.
    static APPENDED: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Log {
    /// This thread calls [`Log::end_round`] whenever it is about to sleep.
    pub fn begin_rounds() {
        APPENDED.set(Some(0));
    }

    /// A client of this thread waits for what was appended, be it by others
    /// whose round goes on.
    pub fn wait_in_round(&self) {
        APPENDED.set(APPENDED.get().map(|bytes| bytes.max(1)));
    }

    /// The round is over: what was appended is to be written.
    #[inline]
    pub fn end_round(&self) {
        if APPENDED.get().is_some_and(|bytes| bytes != 0) {
            APPENDED.set(Some(0));
            self.shared.hurry_writer();
        }
    }

    /// Somebody follows the log closely for as long as this lives: other than
    /// under `always` too, what is appended is written at once, or half a
    /// millisecond behind what was written before.
    pub fn hasten(&self) -> Hastened {
        self.shared.hastened.fetch_add(1, AcqRel);
        self.shared.hurry_writer();
        Hastened(self.shared.clone())
    }

    /// Wakes the writer after an append, at once or at the end of the round.
    /// `parked` says that it waits for that, where it works by an interval.
    #[inline]
    pub(super) fn wake(&self, parked: bool, bytes: usize) {
        if self.shared.policy() != SyncPolicy::Always {
            if parked {
                self.shared.hurry_writer();
            }
            return;
        }
        let appended = APPENDED.get().map(|before| before + bytes);
        if let Some(appended @ 1..LARGE_BYTES) = appended {
            APPENDED.set(Some(appended));
            return;
        }
        APPENDED.set(appended.map(|_| 0));
        self.shared.hurry_writer();
    }
}

/// Keeps the log from gathering what is appended.
pub struct Hastened(Arc<Shared>);

impl Drop for Hastened {
    fn drop(&mut self) {
        self.0.hastened.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::log::{LogOptions, Offset};

    fn open() -> Log {
        let disk = Arc::new(SimulatedDisk::new());
        let options = LogOptions {
            policy: SyncPolicy::Always,
            ..LogOptions::default()
        };
        let opened = Log::open(disk, Path::new("/log"), Offset(0), options);
        opened.unwrap().0
    }

    fn wait_for(log: &Log, end: Offset) {
        while log.synced() < end {
            thread::yield_now();
        }
    }

    #[test]
    fn a_round_is_made_durable_by_one_sync() {
        let log = open();
        thread::scope(|scope| {
            scope.spawn(|| {
                Log::begin_rounds();
                for _ in 0..10 {
                    let before = log.stats().syncs;
                    let ends = (0..20).map(|_| log.append(0, b"*1\r\n$4\r\nPING\r\n", 0));
                    let end = ends.last().unwrap();
                    log.end_round();
                    wait_for(&log, end);
                    assert_eq!(log.stats().syncs, before + 1);
                }
            });
        });
    }

    #[test]
    fn what_is_followed_closely_is_written_without_an_interval() {
        let disk = Arc::new(SimulatedDisk::new());
        let options = LogOptions {
            // For ever, as far as this test goes.
            flush_interval_ms: 3_600_000,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(disk, Path::new("/log"), Offset(0), options).unwrap();
        let followed = log.hasten();
        for _ in 0..100 {
            let end = log.append(0, b"*1\r\n$4\r\nPING\r\n", 0);
            while log.written() < end {
                thread::yield_now();
            }
        }
        drop(followed);
    }

    #[test]
    fn whoever_waits_and_whoever_has_no_rounds_is_served_at_once() {
        let log = open();
        thread::scope(|scope| {
            let deferred = scope.spawn(|| {
                Log::begin_rounds();
                log.append(0, b"*1\r\n$4\r\nPING\r\n", 0)
            });
            let end = deferred.join().unwrap();
            let log = &log;
            scope.spawn(move || {
                Log::begin_rounds();
                log.wait_in_round();
                log.end_round();
                wait_for(log, end);
                let large = vec![b'x'; LARGE_BYTES];
                wait_for(log, log.append(0, &large, 0));
            });
        });
        let log = open();
        wait_for(&log, log.append(0, b"*1\r\n$4\r\nPING\r\n", 0));
    }
}
