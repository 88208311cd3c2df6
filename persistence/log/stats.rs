//! Counters of the log, for INFO and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A snapshot of the log's counters. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Syncs that ended well.
    pub syncs: u64,
    /// Time spent in syncs.
    pub sync_us_total: u64,
    /// Duration of the last sync.
    pub last_sync_us: u64,
    /// The longest sync since start.
    pub max_sync_us: u64,
    /// Whether the last sync succeeded.
    pub last_sync_ok: bool,
    /// Records written.
    pub writes: u64,
    /// Payload bytes written.
    pub bytes: u64,
    /// Segments in the log.
    pub segments: u64,
    /// Bytes of those segments' files; prepared and spare files not counted.
    pub disk_bytes: u64,
}

/// The live counters.
#[derive(Debug)]
pub(super) struct Counters {
    syncs: AtomicU64,
    sync_us_total: AtomicU64,
    last_sync_us: AtomicU64,
    max_sync_us: AtomicU64,
    last_sync_ok: AtomicBool,
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Counters {
        Counters {
            syncs: AtomicU64::new(0),
            sync_us_total: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
            max_sync_us: AtomicU64::new(0),
            last_sync_ok: AtomicBool::new(true),
            writes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn synced(&self, took: Duration) {
        let us = took.as_micros() as u64;
        self.syncs.fetch_add(1, Relaxed);
        self.sync_us_total.fetch_add(us, Relaxed);
        self.last_sync_us.store(us, Relaxed);
        self.max_sync_us.fetch_max(us, Relaxed);
    }

    pub(super) fn sync_failed(&self) {
        self.last_sync_ok.store(false, Relaxed);
    }

    pub(super) fn restarted(&self) {
        self.last_sync_ok.store(true, Relaxed);
    }

    pub(super) fn wrote(&self, payload_bytes: u64) {
        self.writes.fetch_add(1, Relaxed);
        self.bytes.fetch_add(payload_bytes, Relaxed);
    }

    pub(super) fn snapshot(&self, segments: u64, disk_bytes: u64) -> LogStats {
        LogStats {
            syncs: self.syncs.load(Relaxed),
            sync_us_total: self.sync_us_total.load(Relaxed),
            last_sync_us: self.last_sync_us.load(Relaxed),
            max_sync_us: self.max_sync_us.load(Relaxed),
            last_sync_ok: self.last_sync_ok.load(Relaxed),
            writes: self.writes.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            segments,
            disk_bytes,
        }
    }
}
