//! How a pure cache, which has no tree to be a snapshot of, gets an exact one
//! without stopping: for as long as it takes, changes are kept track of as
//! for a tree. All keys are collected first, whatever changes meanwhile; a
//! checkpoint then collects what did change, and makes the whole exact.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Keyspace;
use super::checkpoint::{Frozen, Rows};
use super::dirty::unpacked;
use super::stripe::{Held, SLOTS_PER_STRIPE, STRIPES};

/// How long one attempt to have all locks may hold up commands.
const PATIENCE: Duration = Duration::from_millis(2);
/// The pause between two attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(5);
/// Keys of a slot that are collected under one hold of the stripe's lock.
const COLLECTED_PER_HOLD: usize = 64;

impl Keyspace {
    fn lock_all_patiently(&self) -> Held<'_> {
        loop {
            match self.try_lock_all(PATIENCE) {
                Some(held) => return held,
                None => std::thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
    }

    /// Begins keeping track of changes, at one moment for all keys. The
    /// keyspace has no tree.
    pub fn begin_walk(&self) {
        let held = self.lock_all_patiently();
        self.whole_rows.store(true, Ordering::Relaxed);
        self.start_tracking();
        drop(held);
    }

    /// Collects the keys of a slot of a physical database, in the order of the
    /// tree. A key that changes meanwhile may be collected as it was before or
    /// after, or not at all.
    pub fn walk_slot(&self, physical: u32, slot: u16, rows: &mut Rows) {
        rows.clear();
        let stripe = super::stripe::stripe_of(slot);
        let mut cursor = Some(0);
        while let Some(mut at) = cursor {
            let mut held = self.lock_one(stripe);
            let Some(Some(share)) = held.stripe(stripe).dbs.get_mut(physical as usize) else {
                return;
            };
            let table = &share.tables[usize::from(slot) % SLOTS_PER_STRIPE];
            let mut collected = 0;
            cursor = loop {
                at = table.scan(at, |entry| {
                    collected += 1;
                    entry.set_in_tree();
                    rows.push_whole(entry);
                });
                match at {
                    0 => break None,
                    _ if collected >= COLLECTED_PER_HOLD => break Some(at),
                    _ => {}
                }
            };
        }
        rows.finish();
    }

    /// Freezes the walk's changes, as a checkpoint does for a tree.
    pub fn begin_walk_checkpoint(&self) -> Frozen {
        loop {
            match self.begin_checkpoint(PATIENCE, || ()) {
                Some((frozen, ())) => return frozen,
                None => std::thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
    }

    /// Stops keeping track of changes, and forgets those that were kept.
    pub fn end_walk(&self) {
        let held = self.lock_all_patiently();
        self.stop_tracking();
        self.whole_rows.store(false, Ordering::Relaxed);
        drop(held);
        for stripe in 0..STRIPES {
            let mut held = self.lock_one(stripe);
            for share in held.stripe(stripe).dbs.iter_mut().flatten() {
                for parity in [0, 1] {
                    for packed in std::mem::take(&mut share.dirty.changed[parity]) {
                        let (slot, hash) = unpacked(packed);
                        share.tables[slot].with_hash(hash, |entry| {
                            entry.set_dirty(0, false);
                            entry.set_dirty(1, false);
                        });
                    }
                    share.dirty.removed[parity] = Default::default();
                }
                std::mem::take(&mut share.dirty.pre_images).free();
            }
        }
    }
}
