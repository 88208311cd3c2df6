//! Keys that clients of a writable replica gave an expiry. Its primary knows
//! nothing of them and won't remove them, so the replica does.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Keys by logical database.
#[derive(Default)]
pub struct OwnExpiries {
    keys: Mutex<HashSet<(u32, Box<[u8]>)>>,
    any: AtomicBool,
}

impl OwnExpiries {
    /// Remembers a key.
    pub fn note(&self, db: u32, key: &[u8]) {
        self.keys.lock().insert((db, key.into()));
        self.any.store(true, Ordering::Release);
    }

    /// All keys; it remembers none of them any more.
    pub fn take(&self) -> HashSet<(u32, Box<[u8]>)> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return HashSet::new();
        }
        std::mem::take(&mut self.keys.lock())
    }
}
