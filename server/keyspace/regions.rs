//! Where in memory values lie: a region of the allocator comes back to the
//! system once everything in it is gone (see `eviction/regions.rs`).

use super::Keyspace;
use super::db::spill_entry;
use super::dirty::{packed, unpacked};
use super::entry::Entry;
use super::stripe::{SLOTS_PER_STRIPE, STRIPES, StripeDb};
use super::table::hash_bytes;

/// Keys that are looked at under one hold of a stripe's lock.
const LOOKED_AT_PER_HOLD: usize = 128;
/// Mimalloc keeps blocks of up to 10 KB in pages of 64 KB, one size a page.
const SMALL_BLOCK_BYTES: usize = 10 << 10;
/// The pages of 64 KB, and those of 512 KB for larger blocks.
const SMALL_SHIFT: u32 = 16;
const LARGE_SHIFT: u32 = 19;

/// An entry in RAM, by its address, which is never used as one.
pub struct Located {
    /// The number of its region.
    pub region: u64,
    /// What it takes up.
    pub bytes: usize,
    /// Its eviction clock.
    pub access: u32,
    /// The tree has it, so that it may leave.
    pub is_clean: bool,
    /// The database's number in the tree.
    pub physical: u32,
    /// Its stripe.
    pub stripe: u16,
    packed: u64,
}

impl Located {
    fn of(entry: &Entry, physical: u32, stripe: usize, slot: usize) -> Option<Located> {
        if entry.is_cold() {
            return None;
        }
        let bytes = entry.memory_bytes();
        Some(Located {
            region: region(entry, bytes),
            bytes,
            access: entry.access(),
            is_clean: is_clean(entry),
            physical,
            stripe: stripe as u16,
            packed: packed(slot, hash_bytes(entry.key())),
        })
    }
}

fn region(entry: &Entry, bytes: usize) -> u64 {
    let address = entry.address() as u64;
    match bytes <= SMALL_BLOCK_BYTES {
        true => address >> SMALL_SHIFT << SMALL_SHIFT,
        // No region of 64 KB begins at an odd number.
        false => (address >> LARGE_SHIFT << LARGE_SHIFT) | 1,
    }
}

fn is_clean(entry: &Entry) -> bool {
    let dirty = entry.is_dirty(0) || entry.is_dirty(1);
    entry.is_in_tree() && !dirty && !entry.has_expiring_fields()
}

impl Keyspace {
    /// Shows where the values of all keys are. What changes meanwhile may be
    /// shown as it was or as it is, or not at all.
    pub fn locate(&self, f: &mut dyn FnMut(Located)) {
        let physical: Vec<u32> = self.db_map().physical;
        for stripe in 0..STRIPES {
            for &db in &physical {
                for slot in 0..SLOTS_PER_STRIPE {
                    self.locate_in_slot(db, stripe, slot, f);
                }
            }
        }
    }

    fn locate_in_slot(&self, db: u32, stripe: usize, slot: usize, f: &mut dyn FnMut(Located)) {
        let mut cursor = 0;
        loop {
            let mut held = self.lock_one(stripe);
            let Some(Some(share)) = held.stripe(stripe).dbs.get_mut(db as usize) else {
                return;
            };
            let mut seen = 0;
            while seen < LOOKED_AT_PER_HOLD {
                cursor = share.tables[slot].scan(cursor, |entry| {
                    seen += 1;
                    if let Some(located) = Located::of(entry, db, stripe, slot) {
                        f(located);
                    }
                });
                if cursor == 0 {
                    return;
                }
            }
        }
    }

    /// Drops a value from RAM if it is still where it was and the tree has it;
    /// gives the bytes freed.
    pub fn spill_located(&self, located: &Located) -> Option<usize> {
        let mut held = self.lock_one(located.stripe.into());
        let stripe = held.stripe(located.stripe.into());
        let share: &mut StripeDb = stripe.dbs.get_mut(located.physical as usize)?.as_mut()?;
        let (slot, hash) = unpacked(located.packed);
        let mut key = None;
        share.tables[slot].with_hash(hash, |entry| {
            let there = region(entry, entry.memory_bytes()) == located.region;
            if there && !entry.is_cold() {
                key = Some(entry.key().to_vec());
            }
        });
        let key = key?;
        spill_entry(self, share, slot, hash_bytes(&key), &key)
    }
}
