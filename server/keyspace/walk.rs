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

    /// Collects all keys, and has `put` take them over with the number of their
    /// physical database: of a slot at a time, in the order of the tree. A key
    /// that changes meanwhile may be collected as it was before or after, or not
    /// at all.
    ///
    /// Which databases there are is looked at once, as a cut. To exchange two does not move
    /// their keys, and one that takes the place of a flushed one has none but
    /// such as changed.
    pub fn walk<E>(
        &self,
        rows: &mut Rows,
        put: &mut dyn FnMut(u32, &Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        let map = self.numbers.lock().cut();
        for physical in map.physical {
            for stripe in 0..STRIPES {
                // What comes in from now on is kept track of.
                if !self.has_share(physical, stripe) {
                    continue;
                }
                for slot in 0..SLOTS_PER_STRIPE {
                    let slot = (stripe * SLOTS_PER_STRIPE + slot) as u16;
                    self.walk_slot(physical, slot, rows);
                    put(physical, rows)?;
                }
            }
        }
        Ok(())
    }

    fn has_share(&self, physical: u32, stripe: usize) -> bool {
        let mut held = self.lock_one(stripe);
        let share = held.stripe(stripe).dbs.get(physical as usize);
        share.is_some_and(Option::is_some)
    }

    fn walk_slot(&self, physical: u32, slot: u16, rows: &mut Rows) {
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
                let (tables, dirty) = (&share.tables, &mut share.dirty);
                // Of what was to be collected, too: a checkpoint that failed may
                // have left off in the middle.
                let lists = dirty.changed.iter_mut().chain([&mut dirty.collected]);
                for packed in lists.flat_map(std::mem::take) {
                    let (slot, hash) = unpacked(packed);
                    tables[slot].with_hash(hash, |entry| {
                        entry.set_dirty(0, false);
                        entry.set_dirty(1, false);
                    });
                }
                dirty.removed = Default::default();
                std::mem::take(&mut dirty.pre_images).free();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::keyspace::db::Db;
    use crate::keyspace::stripe::StripeSet;

    const KEYS: usize = 200;

    /// Keys of one slot, so that what fails has much of its stripe left.
    fn key(number: usize) -> Vec<u8> {
        format!("{{one}}{number}").into_bytes()
    }

    fn set_all(keyspace: &Keyspace, db: u32, value: &str) {
        let mut db = Db::open(keyspace, StripeSet::ALL, db, 0);
        for number in 0..KEYS {
            let value = format!("{value} of {number} {}", "x".repeat(100 + value.len()));
            db.set_string(&key(number), value.as_bytes(), None).unwrap();
        }
    }

    /// What was put, by physical database and key: later rows are in place of
    /// earlier ones.
    type Found = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

    fn note(found: &mut Found, db: u32, rows: &Rows) {
        found.extend(
            rows.iter()
                .map(|row| ((db, row.key().to_vec()), row.payload())),
        );
    }

    fn collect<E>(
        keyspace: &Keyspace,
        frozen: &Frozen,
        found: &mut Found,
        check: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = Rows::default();
        for &db in &frozen.map.physical {
            for stripe in 0..STRIPES {
                keyspace.collect(frozen, db, stripe, &mut rows, &mut |rows| {
                    check()?;
                    note(found, db, rows);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn assert_all(found: &Found, db: u32, value: &str) {
        for number in 0..KEYS {
            let payload = String::from_utf8_lossy(&found[&(db, key(number))]);
            assert!(payload.contains(&format!("{value} of {number} ")));
        }
    }

    #[test]
    fn what_a_walk_that_failed_left_is_not_in_the_next_one() {
        let keyspace = Keyspace::new(1);
        let mut found = Found::new();
        keyspace.begin_walk();
        set_all(&keyspace, 0, "first");
        let frozen = keyspace.begin_walk_checkpoint();
        assert!(collect(&keyspace, &frozen, &mut found, || Err("no room")).is_err());
        keyspace.end_walk();
        // Nothing is kept track of, until the next walk.
        set_all(&keyspace, 0, "second one");
        keyspace.begin_walk();
        set_all(&keyspace, 0, "the third one");
        let frozen = keyspace.begin_walk_checkpoint();
        collect(&keyspace, &frozen, &mut found, || Ok::<_, ()>(())).unwrap();
        keyspace.end_walk();
        assert_all(&found, 0, "the third one");
        for stripe in 0..STRIPES {
            let mut held = keyspace.lock_one(stripe);
            let mut shares = held.stripe(stripe).dbs.iter().flatten();
            assert!(shares.all(|share| share.dirty.is_empty()));
        }
    }

    #[test]
    fn a_walk_shows_one_moment_whatever_databases_are_exchanged_and_flushed() {
        let keyspace = Keyspace::new(4);
        set_all(&keyspace, 0, "of another number");
        Db::open(&keyspace, StripeSet::ALL, 0, 0).flush(0);
        set_all(&keyspace, 0, "flushed");
        set_all(&keyspace, 2, "exchanged");
        keyspace.begin_walk();
        let (mut found, mut rows) = (Found::new(), Rows::default());
        let mut before = Some(());
        let put = &mut |db, rows: &Rows| {
            if before.take().is_some() {
                // The empty one is still to come, and is the full one by then.
                Db::open(&keyspace, StripeSet::ALL, 0, 0).swap(1, 2);
                Db::open(&keyspace, StripeSet::ALL, 0, 0).flush(0);
                set_all(&keyspace, 0, "anew");
            }
            note(&mut found, db, rows);
            Ok::<_, ()>(())
        };
        keyspace.walk(&mut rows, put).unwrap();
        let frozen = keyspace.begin_walk_checkpoint();
        // This is later than the moment that is shown.
        Db::open(&keyspace, StripeSet::ALL, 0, 0).swap(1, 3);
        Db::open(&keyspace, StripeSet::ALL, 0, 0).flush(0);
        set_all(&keyspace, 3, "too late");
        collect(&keyspace, &frozen, &mut found, || Ok::<_, ()>(())).unwrap();
        keyspace.end_walk();
        let physical = &frozen.map.physical;
        assert_all(&found, physical[0], "anew");
        assert_all(&found, physical[1], "exchanged");
        for db in [physical[2], physical[3]] {
            assert!(!found.keys().any(|(of, _)| *of == db));
        }
    }
}
