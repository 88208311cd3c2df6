//! The keyspace: every key and value in RAM, the state at the end of the log.
//!
//! Owns: stripes with their locks, a table per slot and database, value types,
//! expiry, and the record of what changed. Must not know RESP, connections or
//! the log; commands reach it through [`db::Db`].
//!
//! Reading order: `table.rs` (where an element lies), `entry.rs` (a key with
//! its value), `stripe.rs` (locks), `glimpse.rs` (looks without them), `db.rs`
//! (what commands call), `dirty.rs` and `checkpoint.rs` (how the tree gets its
//! rows), then the value types.

mod block;
pub mod checkpoint;
pub mod codec;
pub mod db;
pub mod dirty;
pub mod element;
pub mod entry;
pub mod field_expiries;
pub mod garbage;
pub mod glimpse;
pub mod hash;
pub mod intset;
pub mod limits;
pub mod list;
pub mod listpack;
mod numbers;
pub mod own_expiries;
pub mod pieces;
mod rank_tree;
pub mod recorder;
pub mod regions;
mod rows;
pub mod score;
pub mod set;
pub mod stream;
pub mod stripe;
pub mod table;
mod walk;
pub mod zset;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redoubt_cluster::slots::{SLOT_COUNT, Slot};
use redoubt_persistence::tree::Tree;

use entry::Entry;
pub use numbers::DbMap;
use numbers::Numbers;
use stripe::{Held, LockedStripe, STRIPES, StripeDb, StripeSet, stripe_of};

/// A key with what is derived from it once: its slot and its hash.
#[derive(Clone, Copy)]
pub struct KeyRef<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its hash in the tables.
    pub hash: u64,
    /// Its slot.
    pub slot: u16,
}

impl<'a> KeyRef<'a> {
    /// Derives slot and hash.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> KeyRef<'a> {
        KeyRef {
            bytes,
            hash: table::hash_bytes(bytes),
            slot: Slot::of_key(bytes).number(),
        }
    }

    /// The stripe that guards the key.
    #[inline]
    pub fn stripe(&self) -> usize {
        stripe_of(self.slot)
    }
}

/// All keys.
pub struct Keyspace {
    stripes: Box<[LockedStripe]>,
    /// Where shares are, for glimpses.
    places: glimpse::Places,
    /// Copies of the physical `numbers` for the hot path; written under all locks.
    physical: Box<[AtomicU32]>,
    numbers: Mutex<Numbers>,
    /// By logical database: how many keys, cold ones included.
    key_counts: Box<[AtomicI64]>,
    /// By logical database: how many keys have an expiry (warm ones).
    expires_counts: Box<[AtomicI64]>,
    /// Parity of the current epoch; written under all locks.
    parity: AtomicUsize,
    /// Whether changes are kept for a tree at all.
    tracking: AtomicBool,
    /// Rows are collected as wholes, for a snapshot of a pure cache.
    whole_rows: AtomicBool,
    /// Where cold keys are.
    tree: Mutex<Option<Arc<Tree>>>,
    /// Slots (over all databases) that are not resident yet.
    cold_slots: AtomicI64,
    /// Values that were in the tree only, by stripe, when that was asked last.
    cold_values_seen: [AtomicU64; STRIPES],
    /// Some value left RAM for the tree since the start.
    has_spilled: AtomicBool,
    /// Values that left RAM for the tree.
    spilled: AtomicU64,
    /// Values that had to be read from the tree under a lock.
    stalled_reads: AtomicU64,
    /// Whether any hash ever had a field that expires.
    field_expiries: AtomicBool,
    /// Fields of hashes that expired, since the start.
    expired_fields: AtomicU64,
    /// Keys that clients of a writable replica gave an expiry.
    pub own_expiries: own_expiries::OwnExpiries,
}

impl Keyspace {
    /// An empty keyspace with this many databases.
    pub fn new(databases: u32) -> Keyspace {
        Keyspace {
            stripes: (0..STRIPES).map(|_| LockedStripe::default()).collect(),
            places: glimpse::no_places(),
            physical: (0..databases).map(AtomicU32::new).collect(),
            numbers: Mutex::new(Numbers::of(databases)),
            key_counts: (0..databases).map(|_| AtomicI64::new(0)).collect(),
            expires_counts: (0..databases).map(|_| AtomicI64::new(0)).collect(),
            parity: AtomicUsize::new(0),
            tracking: AtomicBool::new(false),
            whole_rows: AtomicBool::new(false),
            tree: Mutex::new(None),
            cold_slots: AtomicI64::new(0),
            cold_values_seen: [const { AtomicU64::new(0) }; STRIPES],
            has_spilled: AtomicBool::new(false),
            spilled: AtomicU64::new(0),
            stalled_reads: AtomicU64::new(0),
            field_expiries: AtomicBool::new(false),
            expired_fields: AtomicU64::new(0),
            own_expiries: Default::default(),
        }
    }

    /// How many databases there are.
    pub fn databases(&self) -> u32 {
        self.physical.len() as u32
    }

    /// Locks stripes; the caller must hold none.
    #[inline]
    pub fn lock(&self, set: StripeSet) -> Held<'_> {
        Held::lock(&self.stripes, set)
    }

    /// As [`Keyspace::lock`], unless `give_up` says so while others have one.
    #[inline]
    pub fn lock_unless(&self, set: StripeSet, give_up: impl Fn() -> bool) -> Option<Held<'_>> {
        Held::lock_unless(&self.stripes, set, give_up)
    }

    /// Locks one stripe.
    #[inline]
    pub fn lock_one(&self, stripe: usize) -> Held<'_> {
        Held::lock_one(&self.stripes, stripe)
    }

    /// Locks every stripe, or gives up after `patience`.
    pub fn try_lock_all(&self, patience: std::time::Duration) -> Option<Held<'_>> {
        Held::try_lock_all(&self.stripes, patience)
    }

    /// Locks some stripes, or gives up after `patience`.
    pub fn try_lock(&self, set: StripeSet, patience: std::time::Duration) -> Option<Held<'_>> {
        Held::try_lock(&self.stripes, set, patience)
    }

    /// How many keys a database has.
    pub fn key_count(&self, db: u32) -> u64 {
        self.key_counts[db as usize].load(Ordering::Relaxed).max(0) as u64
    }

    /// How many keys of a database have an expiry.
    pub fn expires_count(&self, db: u32) -> u64 {
        self.expires_counts[db as usize]
            .load(Ordering::Relaxed)
            .max(0) as u64
    }

    /// Whether hashes may have fields that expire.
    pub fn has_field_expiries(&self) -> bool {
        self.field_expiries.load(Ordering::Relaxed)
    }

    /// How many fields of hashes have expired since the start.
    pub fn expired_fields(&self) -> u64 {
        self.expired_fields.load(Ordering::Relaxed)
    }

    pub(crate) fn count_expired_fields(&self, count: u64) {
        self.expired_fields.fetch_add(count, Ordering::Relaxed);
    }

    /// Notes that a hash has a field that expires.
    pub fn note_field_expiries(&self) {
        self.field_expiries.store(true, Ordering::Relaxed);
    }

    /// Whether some keys may still be in the tree only.
    pub fn is_warming(&self) -> bool {
        self.cold_slots.load(Ordering::Relaxed) > 0
    }

    /// How many slots, counted per database, are not resident yet.
    pub fn cold_slot_count(&self) -> u64 {
        self.cold_slots.load(Ordering::Relaxed).max(0) as u64
    }

    /// Keys that are in the tree only, about: as if each slot had as many.
    pub fn keys_to_come(&self) -> u64 {
        let cold = self.cold_slot_count();
        if cold == 0 {
            return 0;
        }
        let counts = self.key_counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed).max(0) as u64);
        let (keys, databases) = counts
            .filter(|count| *count > 0)
            .fold((0, 0), |(keys, databases), count| {
                (keys + count, databases + 1)
            });
        let slots: u64 = SLOT_COUNT as u64 * databases;
        (keys as f64 * cold as f64 / slots.max(cold) as f64) as u64
    }

    /// The physical number of a logical database.
    #[inline]
    pub fn physical(&self, db: u32) -> u32 {
        self.physical[db as usize].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn parity(&self) -> usize {
        self.parity.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_tracking(&self) -> bool {
        self.tracking.load(Ordering::Relaxed)
    }

    /// Notes what a key whose value may be large has to have written.
    pub(crate) fn push_row(&self, entry: &Entry, rows: &mut rows::Rows) {
        match self.whole_rows.load(Ordering::Relaxed) {
            true => rows.push_whole(entry),
            false => rows.push_changes(entry),
        }
    }

    pub(crate) fn add_keys(&self, db: u32, difference: i64) {
        self.key_counts[db as usize].fetch_add(difference, Ordering::Relaxed);
    }

    pub(crate) fn add_expires(&self, db: u32, difference: i64) {
        self.expires_counts[db as usize].fetch_add(difference, Ordering::Relaxed);
    }

    /// Whether values may be in the tree only; cheap.
    #[inline]
    pub fn has_spilled(&self) -> bool {
        self.has_spilled.load(Ordering::Relaxed)
    }

    /// Values that left RAM, and such as were read back under a lock.
    pub fn spill_counts(&self) -> (u64, u64) {
        let spilled = self.spilled.load(Ordering::Relaxed);
        (spilled, self.stalled_reads.load(Ordering::Relaxed))
    }

    /// How many keys' values are in the tree only. Locks every stripe in turn;
    /// of one that is locked, be it by a transaction that asks, it gives what
    /// there was when it was looked at last.
    pub fn cold_values(&self) -> u64 {
        let of_stripe = |stripe: usize| {
            let seen = &self.cold_values_seen[stripe];
            if let Some(mut held) = self.try_lock(StripeSet::one(stripe), Duration::ZERO) {
                let shares = held.stripe(stripe).dbs.iter().flatten();
                let values = shares.map(|share| share.cold_values).sum();
                seen.store(values, Ordering::Relaxed);
            }
            seen.load(Ordering::Relaxed)
        };
        (0..STRIPES).map(of_stripe).sum()
    }

    pub(crate) fn note_spilled(&self) {
        self.has_spilled.store(true, Ordering::Relaxed);
        self.spilled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_stalled_read(&self) {
        self.stalled_reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tree(&self) -> Option<Arc<Tree>> {
        self.tree.lock().clone()
    }

    pub(crate) fn slot_became_warm(&self) {
        self.cold_slots.fetch_sub(1, Ordering::Relaxed);
    }

    /// Empties a database; `held` is every stripe. If the tree may have rows of
    /// it, it gets a fresh physical number, and the old shares stay in place until
    /// a checkpoint frees them, which may still need what they hold. Otherwise
    /// they go at once.
    pub(crate) fn retire(&self, held: &mut Held<'_>, db: u32) {
        let old = self.physical(db);
        let unused = self.numbers.lock().retire(db);
        match unused {
            Some(unused) => {
                self.give_up_places(db);
                self.physical[db as usize].store(unused, Ordering::Relaxed);
            }
            None => (0..STRIPES).for_each(|stripe| self.free_share(held, stripe, old)),
        }
        self.key_counts[db as usize].store(0, Ordering::Relaxed);
        self.expires_counts[db as usize].store(0, Ordering::Relaxed);
    }

    /// Takes a physical database's share of a held stripe out, if there is one;
    /// its memory is freed in the background.
    fn free_share(&self, held: &mut Held<'_>, stripe: usize, physical: u32) {
        let place = held.stripe(stripe).dbs.get_mut(physical as usize);
        if let Some(share) = place.and_then(Option::take) {
            let cold = i64::from(share.cold.count_ones());
            self.cold_slots.fetch_sub(cold, Ordering::Relaxed);
            garbage::free_later(garbage::Garbage::Share(share));
        }
    }

    /// Exchanges two databases. The caller holds every stripe.
    pub(crate) fn swap(&self, one: u32, other: u32) {
        let mut numbers = self.numbers.lock();
        numbers.swap(one, other);
        self.give_up_places(one);
        self.give_up_places(other);
        let (one, other) = (one as usize, other as usize);
        for db in [one, other] {
            self.physical[db].store(numbers.map().physical[db], Ordering::Relaxed);
        }
        for counts in [&self.key_counts, &self.expires_counts] {
            let first = counts[one].load(Ordering::Relaxed);
            counts[one].store(
                counts[other].swap(first, Ordering::Relaxed),
                Ordering::Relaxed,
            );
        }
    }

    /// The logical number of a physical database, if it is in use.
    pub fn logical(&self, physical: u32) -> Option<u32> {
        self.numbers
            .lock()
            .map()
            .physical
            .iter()
            .position(|&p| p == physical)
            .map(|p| p as u32)
    }
}

/// The share of `db` (physical) in a stripe, made if there is none.
#[inline]
pub(crate) fn share_of(stripe: &mut stripe::Stripe, physical: u32) -> &mut StripeDb {
    let index = physical as usize;
    if !matches!(stripe.dbs.get(index), Some(Some(_))) {
        make_share(stripe, index);
    }
    stripe.dbs[index].as_mut().expect("it is there or was made")
}

#[cold]
fn make_share(stripe: &mut stripe::Stripe, index: usize) {
    if stripe.dbs.len() <= index {
        stripe.dbs.resize_with(index + 1, || None);
    }
    stripe.dbs[index] = Some(StripeDb::new(false));
}

/// Frees an entry, in the background when that is worth it.
pub fn free_entry(entry: Entry) {
    if entry.is_costly_to_free() {
        garbage::free_later(garbage::Garbage::Entry(entry));
    } else {
        drop(entry);
    }
}
