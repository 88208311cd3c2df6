//! How the tree gets exactly the state at one offset of the log, while
//! commands go on: the keyspace's half of a checkpoint (I4; see `dirty.rs`
//! for epochs and pre-images).

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::dirty::{PreImage, packed, unpacked};
use super::garbage::{Garbage, free_later};
use super::pieces::{self, Gradual};
pub use super::rows::{Row, Rows};
use super::stripe::{Held, SLOTS_PER_STRIPE, STRIPES, StripeDb};
use super::table::hash_bytes;
use super::{DbMap, Keyspace};

/// Keys whose values are collected under one hold of a stripe's lock.
const COLLECTED_PER_HOLD: usize = 64;
/// Bytes after which a hold ends.
const HOLD_BYTES: usize = 256 << 10;
/// Bytes of rows that are put into the tree at a time, about. Each part is in the
/// tree's order; a slot that has many of them is gone through as often.
const PART_BYTES: usize = if cfg!(test) { 4 << 10 } else { 64 << 20 };

/// The state of the numbers at a checkpoint's offset.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Parity of the frozen epoch.
    parity: usize,
    /// The databases' numbers.
    pub map: DbMap,
}

impl Keyspace {
    /// Begins keeping track of changes for a tree.
    pub fn start_tracking(&self) {
        self.tracking.store(true, Ordering::SeqCst);
    }

    /// Begins to keep track for a tree that has nothing yet: every key counts
    /// as changed. All stripes are held.
    pub fn track_everything(
        &self,
        held: &mut Held<'_>,
        tree: std::sync::Arc<redoubt_persistence::tree::Tree>,
    ) {
        let parity = self.parity();
        for index in 0..STRIPES {
            for share in held.stripe(index).dbs.iter_mut().flatten() {
                let (tables, dirty) = (&share.tables, &mut share.dirty);
                for (slot, table) in tables.iter().enumerate() {
                    for entry in table.iter() {
                        entry.set_dirty(parity, true);
                        pieces::forget(&entry);
                        let hash = hash_bytes(entry.key());
                        dirty.changed[parity].push(packed(slot, hash));
                    }
                }
            }
        }
        *self.tree.lock() = Some(tree);
        self.start_tracking();
    }

    /// Stops keeping track of changes; all locks are held.
    pub(super) fn stop_tracking(&self) {
        self.tracking.store(false, Ordering::SeqCst);
    }

    /// Starts the next epoch at one moment for all keys, and calls `at_cut` at
    /// that moment. None when the locks could not all be had in `patience`:
    /// a long command is under way; try again later. The checkpoint before
    /// must be finished.
    pub fn begin_checkpoint<R>(
        &self,
        patience: Duration,
        at_cut: impl FnOnce() -> R,
    ) -> Option<(Frozen, R)> {
        let held = self.try_lock_all(patience)?;
        let parity = self.parity();
        self.parity.store(1 - parity, Ordering::Relaxed);
        let frozen = Frozen {
            parity,
            map: self.numbers.lock().cut(),
        };
        let result = at_cut();
        drop(held);
        Some((frozen, result))
    }

    /// Collects the frozen rows of one stripe of one physical database, and has
    /// `put` take them over: in several parts where they are many, a key's
    /// removal before its value. No lock is held for long, nor while `put` runs.
    pub fn collect<E>(
        &self,
        frozen: &Frozen,
        physical: u32,
        stripe: usize,
        rows: &mut Rows,
        put: &mut dyn FnMut(&Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        let share = Share {
            keyspace: self,
            physical: physical as usize,
            stripe,
            parity: frozen.parity,
        };
        rows.clear();
        let mut part = |rows: &mut Rows, least: usize| {
            rows.count_memory();
            if rows.bytes() < least {
                return Ok(());
            }
            rows.finish();
            let done = put(rows);
            rows.clear();
            done
        };
        let Some(removed) = share.with(|share| share.dirty.removed[frozen.parity].clone()) else {
            return Ok(());
        };
        for key in removed.in_order() {
            rows.push_removed(key.name());
            part(rows, PART_BYTES)?;
        }
        drop(removed);
        let count = share.sort_changed();
        let mut from = 0;
        while from < count {
            rows.make_room(rows.bytes().min(2 * HOLD_BYTES), COLLECTED_PER_HOLD);
            let (next, long) = share.collect_some(from, count, rows);
            from = next;
            if let Some(long) = long {
                share.collect_long(long, rows);
            }
            part(rows, PART_BYTES)?;
        }
        let pre_images = share.with(|share| std::mem::take(&mut share.dirty.pre_images));
        pre_images.unwrap_or_default().each(|pre_image| {
            match pre_image {
                PreImage::Entry(entry) => {
                    self.push_row(&entry, rows);
                    super::free_entry(entry);
                }
                PreImage::Row(row) => rows.absorb(&row),
            }
            part(rows, PART_BYTES)
        })?;
        part(rows, 0)
    }

    /// Ends a checkpoint whose rows are committed: the tree is now right
    /// about what was removed, and retired databases are gone from it.
    pub fn finish_checkpoint(&self, frozen: &Frozen) {
        for stripe in 0..STRIPES {
            let mut done = (Vec::new(), Vec::new());
            let mut held = self.lock_one(stripe);
            for share in held.stripe(stripe).dbs.iter_mut().flatten() {
                let dirty = &mut share.dirty;
                done.0
                    .push(std::mem::take(&mut dirty.removed[frozen.parity]));
                done.1.push(std::mem::take(&mut dirty.collected));
            }
            // There may be millions: they are freed without the lock.
            drop(held);
            drop(done);
        }
        self.free_retired(&frozen.map.retired);
    }

    /// Ends a checkpoint that failed: all that it was to take over is left to
    /// the next one, which takes the values as they are then.
    pub fn undo_checkpoint(&self, frozen: &Frozen) {
        for stripe in 0..STRIPES {
            let mut held = self.lock_one(stripe);
            for share in held.stripe(stripe).dbs.iter_mut().flatten() {
                give_back(share, frozen.parity);
            }
        }
    }

    /// Frees the memory of retired databases and makes their numbers free.
    pub fn free_retired(&self, retired: &[u32]) {
        for &physical in retired {
            for stripe in 0..STRIPES {
                self.free_share(&mut self.lock_one(stripe), stripe, physical);
            }
        }
        self.numbers.lock().free(retired);
    }

    /// The databases' numbers now.
    pub fn db_map(&self) -> DbMap {
        self.numbers.lock().map().clone()
    }

    /// Takes over what a tree holds at start: all of it is cold.
    pub fn attach_tree(
        &self,
        tree: std::sync::Arc<redoubt_persistence::tree::Tree>,
        map: Option<DbMap>,
        key_counts: &[(u32, u64)],
    ) {
        let Some(held) = self.try_lock_all(Duration::from_secs(60)) else {
            panic!("the keyspace is in use before the tree is attached");
        };
        let mut held = held;
        self.take_over(&mut held, tree, map, key_counts);
    }

    /// Puts what a tree holds in place of everything. All stripes are held.
    pub fn replace(
        &self,
        held: &mut Held<'_>,
        tree: std::sync::Arc<redoubt_persistence::tree::Tree>,
        map: DbMap,
        key_counts: &[(u32, u64)],
    ) {
        for index in 0..STRIPES {
            for share in std::mem::take(&mut held.stripe(index).dbs)
                .into_iter()
                .flatten()
            {
                free_later(Garbage::Share(share));
            }
        }
        self.cold_slots.store(0, Ordering::Relaxed);
        for counts in [&self.key_counts, &self.expires_counts] {
            counts
                .iter()
                .for_each(|count| count.store(0, Ordering::Relaxed));
        }
        self.take_over(held, tree, Some(map), key_counts);
    }

    fn take_over(
        &self,
        held: &mut Held<'_>,
        tree: std::sync::Arc<redoubt_persistence::tree::Tree>,
        map: Option<DbMap>,
        key_counts: &[(u32, u64)],
    ) {
        if let Some(mut map) = map {
            let mut next = map
                .physical
                .iter()
                .chain(&map.retired)
                .max()
                .map_or(0, |m| m + 1);
            while map.physical.len() < self.physical.len() {
                map.physical.push(next);
                next += 1;
            }
            for (db, &physical) in (0..self.databases()).zip(&map.physical) {
                self.give_up_places(db);
                self.physical[db as usize].store(physical, Ordering::Relaxed);
            }
            *self.numbers.lock() = map.into();
        }
        for &(physical, keys) in key_counts.iter().filter(|(_, keys)| *keys > 0) {
            let Some(db) = self.logical(physical).filter(|db| *db < self.databases()) else {
                continue;
            };
            let keys = i64::try_from(keys).unwrap_or(i64::MAX);
            self.key_counts[db as usize].store(keys, Ordering::Relaxed);
            let physical = physical as usize;
            for index in 0..STRIPES {
                let stripe = held.stripe(index);
                if stripe.dbs.len() <= physical {
                    stripe.dbs.resize_with(physical + 1, || None);
                }
                stripe.dbs[physical] = Some(StripeDb::new(true));
                self.cold_slots
                    .fetch_add(SLOTS_PER_STRIPE as i64, Ordering::Relaxed);
            }
        }
        *self.tree.lock() = Some(tree);
    }
}

/// One database's share of a stripe, while it is collected.
struct Share<'k> {
    keyspace: &'k Keyspace,
    physical: usize,
    stripe: usize,
    /// The frozen epoch's.
    parity: usize,
}

/// A long value that is to be collected step by step, and its key.
struct Long {
    slot: usize,
    hash: u64,
    key: Box<[u8]>,
    value: Gradual,
}

impl Share<'_> {
    /// Runs `f` under the stripe's lock; None if the share is gone.
    fn with<R>(&self, f: impl FnOnce(&mut StripeDb) -> R) -> Option<R> {
        let mut held = self.keyspace.lock_one(self.stripe);
        let share = held.stripe(self.stripe).dbs.get_mut(self.physical)?;
        share.as_deref_mut().map(f)
    }

    /// Puts the changed keys in order, so that `is_collected` is quick; gives how
    /// many there are.
    fn sort_changed(&self) -> usize {
        let taken = self.with(|share| std::mem::take(&mut share.dirty.changed[self.parity]));
        let mut changed = taken.unwrap_or_default();
        changed.sort_unstable();
        let count = changed.len();
        self.with(|share| share.dirty.collected = changed);
        count
    }

    /// Collects changed keys from place `from` on, up to a long value. Gives the
    /// next place.
    fn collect_some(&self, from: usize, count: usize, rows: &mut Rows) -> (usize, Option<Long>) {
        let whole_rows = self.keyspace.whole_rows.load(Ordering::Relaxed);
        let collected = self.with(|share| {
            let (mut at, mut long) = (from, None);
            let (end, begun) = (count.min(from + COLLECTED_PER_HOLD), rows.bytes());
            while at < end && rows.bytes() - begun < HOLD_BYTES {
                let (slot, hash) = unpacked(share.dirty.collected[at]);
                debug_assert!(slot < SLOTS_PER_STRIPE);
                share.tables[slot].with_hash(hash, |entry| {
                    if long.is_some() || !entry.is_dirty(self.parity) {
                        return;
                    }
                    long = Gradual::begin(entry, whole_rows, rows).map(|value| Long {
                        slot,
                        hash,
                        key: entry.key().into(),
                        value,
                    });
                    if long.is_none() {
                        entry.set_dirty(self.parity, false);
                        entry.set_in_tree();
                        self.keyspace.push_row(entry, rows);
                    }
                });
                // Others may look the same as this number: it comes again.
                if long.is_some() {
                    break;
                }
                at += 1;
            }
            (at, long)
        });
        collected.unwrap_or((count, None))
    }

    /// Collects a long value, unless it is changed meanwhile: then there is a
    /// pre-image.
    fn collect_long(&self, mut long: Long, rows: &mut Rows) {
        loop {
            rows.make_room(2 * HOLD_BYTES, COLLECTED_PER_HOLD);
            let is_done = self.with(|share| {
                let entry = share.tables[long.slot].find(long.hash, &long.key)?;
                let is_done = entry
                    .is_dirty(self.parity)
                    .then(|| long.value.step(&entry, rows))?;
                if is_done {
                    entry.set_dirty(self.parity, false);
                    entry.set_in_tree();
                }
                Some(is_done)
            });
            match is_done.flatten() {
                Some(true) => return,
                Some(false) => {}
                None => return long.value.undo(rows),
            }
        }
    }
}

/// Makes the frozen epoch's changes of a share the current epoch's.
fn give_back(share: &mut StripeDb, frozen: usize) {
    let current = 1 - frozen;
    let collected = std::mem::take(&mut share.dirty.collected);
    let waiting = std::mem::take(&mut share.dirty.changed[frozen]);
    for packed in collected.into_iter().chain(waiting) {
        let (slot, hash) = unpacked(packed);
        let changed = &mut share.dirty.changed[current];
        share.tables[slot].with_hash(hash, |entry| {
            entry.set_dirty(frozen, false);
            // What was collected of it is not in the tree.
            pieces::forget(entry);
            if !entry.is_dirty(current) {
                entry.set_dirty(current, true);
                changed.push(packed);
            }
        });
    }
    // Whose values these were is changed or removed in the current epoch.
    std::mem::take(&mut share.dirty.pre_images).free();
    share.dirty.give_back_removed(frozen);
}
