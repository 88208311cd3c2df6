//! Whether storage takes writes: the reasons why not, each set and cleared by
//! whoever knows of it, and one flag over them all for the gate.
//!
//! | reason  | since                                      | until                  |
//! |---------|--------------------------------------------|------------------------|
//! | log     | a write or sync of the log failed          | it has begun anew      |
//! | space   | no room for the log's next segment         | there is one           |
//! | tree    | a checkpoint failed                        | one succeeds           |
//! | lag     | the tree is `tree-lag-limit` behind        | it has caught up by ⅛  |
//! | disk    | less than `disk-free-min` bytes are free   | there are ⅛ more       |

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Why writes are refused, most pressing first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The log has failed.
    Log,
    /// The log has no room for its next segment.
    Space,
    /// A checkpoint failed.
    Tree,
    /// The tree is too far behind.
    Lag,
    /// The disk is nearly full.
    Disk,
}

const TROUBLES: usize = Trouble::Disk as usize + 1;

/// The names that INFO shows.
const NAMES: [&str; TROUBLES] = [
    "log_failed",
    "log_out_of_space",
    "checkpoint_failed",
    "tree_behind",
    "disk_nearly_full",
];

/// What storage says of itself.
#[derive(Default)]
pub struct Health {
    refused: AtomicBool,
    troubles: Mutex<[Option<String>; TROUBLES]>,
    /// How long whoever wrote is held up before its replies, microseconds.
    pub slow_us: AtomicU64,
    /// Time for which replies were held up since start, microseconds.
    pub slowed_us: AtomicU64,
    /// Times that writes began to be refused.
    pub refusals: AtomicU64,
    /// Bytes free on the data directory's disk, as seen last.
    pub disk_free: AtomicU64,
    /// Checkpoints that ended well.
    pub checkpoints: AtomicU64,
    /// Checkpoints that failed.
    pub failed_checkpoints: AtomicU64,
    /// How long the last good one took, milliseconds.
    pub last_checkpoint_ms: AtomicU64,
    /// Keys that the last good one took over.
    pub last_checkpoint_rows: AtomicU64,
    /// Bytes of rows and pieces that the last good one put into the tree.
    pub last_checkpoint_bytes: AtomicU64,
    /// The same of all of them.
    pub tree_written: AtomicU64,
    /// Times that the log had to begin anew.
    pub log_restarts: AtomicU64,
    /// Times that the log could not begin anew.
    pub failed_mends: AtomicU64,
    /// Memory is full of what the tree does not have yet.
    pub checkpoint_wanted: AtomicBool,
    /// DEBUG STORAGE: no checkpoints are made.
    pub tree_paused: AtomicBool,
}

impl Health {
    /// Whether any reason holds; what the gate asks of every write.
    #[inline]
    pub fn refuses(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// The most pressing reason, as an error text without its first word.
    pub fn reason(&self) -> Option<String> {
        self.troubles.lock().iter().flatten().next().cloned()
    }

    /// The most pressing reason's name, `ok` if there is none.
    pub fn name(&self) -> &'static str {
        let troubles = self.troubles.lock();
        let first = troubles.iter().position(Option::is_some);
        first.map_or("ok", |index| NAMES[index])
    }

    /// Whether this reason holds.
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.lock()[trouble as usize].is_some()
    }

    /// Sets a reason.
    pub fn set(&self, trouble: Trouble, reason: String) {
        let mut troubles = self.troubles.lock();
        let known = troubles[trouble as usize].replace(reason.clone()).is_some();
        self.refused.store(true, Relaxed);
        drop(troubles);
        if !known {
            self.refusals.fetch_add(1, Relaxed);
            tracing::error!("Writes are refused: {reason}");
        }
    }

    /// Clears a reason.
    pub fn clear(&self, trouble: Trouble) {
        let mut troubles = self.troubles.lock();
        if troubles[trouble as usize].take().is_none() {
            return;
        }
        let refused = troubles.iter().any(Option::is_some);
        self.refused.store(refused, Relaxed);
        drop(troubles);
        if !refused {
            tracing::info!("Writes are taken again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_pressing_reason_is_told_until_the_last_is_gone() {
        let health = Health::default();
        assert!(!health.refuses());
        health.set(Trouble::Disk, "full".into());
        health.set(Trouble::Log, "failed".into());
        assert_eq!(health.reason().as_deref(), Some("failed"));
        assert_eq!(health.name(), "log_failed");
        health.clear(Trouble::Log);
        assert!(health.refuses());
        assert_eq!(health.name(), "disk_nearly_full");
        health.clear(Trouble::Disk);
        assert!(!health.refuses());
        assert_eq!((health.name(), health.reason()), ("ok", None));
    }
}
