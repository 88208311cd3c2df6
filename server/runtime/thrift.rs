//! Memory that goes back to the system once the writes stop: what the
//! allocator keeps for the next rows, and what LMDB keeps for its next
//! transaction.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::pace::Pace;
use crate::state::{Server, Storage};

/// After this many bytes of rows, memory is given back.
const FREED_BYTES: u64 = 1 << 20;
/// After this time without writes LMDB's memory goes, too: to open it anew
/// takes a millisecond, and reads find their pages not mapped yet.
const STILL: Duration = Duration::from_secs(3);

/// What was given back.
pub struct Thrift {
    /// Bytes of rows that were written when this thread's memory was last given
    /// back; the allocator would keep it for its next ones.
    rows: u64,
    /// The same for LMDB's.
    tree: u64,
}

impl Thrift {
    pub fn new() -> Thrift {
        Thrift { rows: 0, tree: 0 }
    }

    /// Called by the tree's writer ten times a second.
    pub fn look(&mut self, pace: &Pace, server: &Server, storage: &Storage) {
        if !pace.idle {
            return;
        }
        let written = server.health.tree_written.load(Ordering::Relaxed);
        if written.saturating_sub(self.rows) >= FREED_BYTES {
            crate::memory::give_back_pages();
            self.rows = written;
        }
        let is_due = written.saturating_sub(self.tree) >= FREED_BYTES;
        if is_due && pace.quiet() >= STILL {
            match storage.tree.release_memory() {
                Ok(false) => {}
                result => {
                    crate::memory::trim_c_heap();
                    self.tree = written;
                    if let Err(error) = result {
                        tracing::error!("the tree could not be opened anew: {error}");
                    }
                }
            }
        }
    }
}
