//! Stripes: the unit of locking, and what one holds for each database.
//!
//! The 16384 slots are cut into 256 stripes of 64 neighbouring slots, so that
//! a stripe is one range of the tree as well. A command holds the locks of
//! its keys' stripes, always taken in ascending order.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;
use redoubt_cluster::slots::SLOT_COUNT;
use smallvec::SmallVec;

use super::dirty::DirtyKeys;
use super::entry::Entry;
use super::field_expiries::FieldExpiries;
use super::glimpse::Sight;
use super::table::Table;

/// How many stripes there are.
pub const STRIPES: usize = 256;
/// How many neighbouring slots share a stripe.
pub const SLOTS_PER_STRIPE: usize = SLOT_COUNT / STRIPES;

/// The stripe of a slot.
#[inline]
pub fn stripe_of(slot: u16) -> usize {
    usize::from(slot) / SLOTS_PER_STRIPE
}

/// One database's share of a stripe.
pub struct StripeDb {
    /// That its tables can be looked at without the lock.
    pub sight: Option<Sight>,
    /// A table per slot.
    pub tables: [Table<Entry>; SLOTS_PER_STRIPE],
    /// Keys with an expiry, soonest first: (Unix ms, slot within the stripe,
    /// hash of the key). May name keys that are gone; never misses one.
    pub expiries: BTreeSet<(i64, u8, u64)>,
    /// Hashes of which a field expires.
    pub field_expiries: FieldExpiries,
    /// Keys changed since the tree last took them over.
    pub dirty: DirtyKeys,
    /// Bit n: slot n of the stripe may have keys that are in the tree only.
    pub cold: u64,
    /// Keys whose values are in the tree only.
    pub cold_values: u64,
    /// Keys whose values came back from the tree of late, as
    /// [`packed`](super::dirty::packed) numbers, oldest first. May name keys
    /// that are gone, and misses those that came back long ago.
    pub returned: VecDeque<u64>,
}

impl StripeDb {
    /// A share without keys; `cold` when the tree may hold some.
    pub fn new(cold: bool) -> Box<StripeDb> {
        Box::new(StripeDb {
            sight: None,
            tables: [const { Table::new() }; SLOTS_PER_STRIPE],
            expiries: BTreeSet::new(),
            field_expiries: FieldExpiries::default(),
            dirty: DirtyKeys::default(),
            cold_values: 0,
            returned: VecDeque::new(),
            cold: if cold { u64::MAX } else { 0 },
        })
    }
}

impl Drop for StripeDb {
    fn drop(&mut self) {
        if let Some(sight) = self.sight.take() {
            sight.end(self);
        }
    }
}

impl StripeDb {
    /// Whether there are no keys, nor anything that the tree has to be told.
    pub fn is_empty(&self) -> bool {
        self.cold == 0
            && self.expiries.is_empty()
            && self.dirty.is_empty()
            && self.tables.iter().all(Table::is_empty)
    }
}

/// What one lock guards: a share of each (physical) database.
#[derive(Default)]
pub struct Stripe {
    /// Indexed by physical database number; None where nothing was stored.
    /// The first lie here, beside the lock: one cache line less to wait for.
    pub dbs: SmallVec<[Option<Box<StripeDb>>; 2]>,
}

/// A stripe with its lock, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
pub struct LockedStripe(Mutex<Stripe>);

/// A set of stripes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct StripeSet([u64; STRIPES / 64]);

impl StripeSet {
    /// Every stripe.
    pub const ALL: StripeSet = StripeSet([u64::MAX; STRIPES / 64]);

    /// Just one stripe.
    #[inline]
    pub fn one(stripe: usize) -> StripeSet {
        let mut set = StripeSet::default();
        set.add(stripe);
        set
    }

    /// Adds a stripe.
    #[inline]
    pub fn add(&mut self, stripe: usize) {
        self.0[stripe / 64] |= 1 << (stripe % 64);
    }

    /// Its bits, 64 stripes a word.
    pub fn words(self) -> [u64; STRIPES / 64] {
        self.0
    }

    /// Whether a stripe is in the set.
    #[inline]
    pub fn has(&self, stripe: usize) -> bool {
        self.0[stripe / 64] & (1 << (stripe % 64)) != 0
    }

    /// The one stripe of this set, if it has exactly one in its first word's
    /// reach; cheap to ask.
    #[inline]
    fn only(&self) -> Option<usize> {
        let mut found = None;
        for (index, &word) in self.0.iter().enumerate() {
            if word != 0 {
                if found.is_some() || !word.is_power_of_two() {
                    return None;
                }
                found = Some(index * 64 + word.trailing_zeros() as usize);
            }
        }
        found
    }

    /// Adds all stripes of another set.
    pub fn add_all(&mut self, other: StripeSet) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Whether the two have a stripe in common.
    pub fn meets(self, other: StripeSet) -> bool {
        let mut words = self.0.iter().zip(other.0);
        words.any(|(mine, theirs)| mine & theirs != 0)
    }

    /// The stripes, ascending.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0
            .into_iter()
            .enumerate()
            .flat_map(|(index, mut word)| {
                std::iter::from_fn(move || {
                    if word == 0 {
                        return None;
                    }
                    let bit = word.trailing_zeros() as usize;
                    word &= word - 1;
                    Some(index * 64 + bit)
                })
            })
    }
}

/// How long one attempt to lock lasts where others may be waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(2);
/// No stripe.
const NONE: usize = usize::MAX;

/// The stripes that its holder has locked; unlocks them when dropped. Most
/// often it is just one, and its holder goes from one to the next.
pub struct Held<'k> {
    stripes: &'k [LockedStripe],
    /// The only one, or [`NONE`].
    one: usize,
    /// Several; empty while `one` is used.
    set: StripeSet,
}

impl<'k> Held<'k> {
    /// Holds nothing yet.
    #[inline]
    pub fn nothing(stripes: &'k [LockedStripe]) -> Held<'k> {
        Held {
            stripes,
            one: NONE,
            set: StripeSet::default(),
        }
    }

    /// Locks the stripes of `set`, ascending. The caller holds none.
    #[inline]
    pub fn lock(stripes: &'k [LockedStripe], set: StripeSet) -> Held<'k> {
        if let Some(index) = set.only() {
            return Held::lock_one(stripes, index);
        }
        if set == StripeSet::default() {
            return Held::nothing(stripes);
        }
        // Who holds some and waits for others gives way now and then, so that
        // a script can add to what it holds.
        loop {
            if let Some(held) = Held::lock_each(stripes, set) {
                return held;
            }
        }
    }

    /// Locks several stripes, or none if one of them takes too long.
    fn lock_each(stripes: &'k [LockedStripe], set: StripeSet) -> Option<Held<'k>> {
        let mut held = Held::nothing(stripes);
        for (count, index) in set.iter().enumerate() {
            let lock = &stripes[index].0;
            let guard = match count {
                0 => lock.lock(),
                _ => lock.try_lock().or_else(|| lock.try_lock_for(PATIENCE))?,
            };
            std::mem::forget(guard);
            held.set.add(index);
        }
        Some(held)
    }

    /// Locks a further stripe, if that takes no longer than `patience`; out of
    /// order, so the patience must have an end.
    pub fn extend(&mut self, index: usize, patience: std::time::Duration) -> bool {
        if self.holds(index) {
            return true;
        }
        let lock = &self.stripes[index].0;
        let waited = || match patience.is_zero() {
            true => None,
            false => lock.try_lock_for(patience),
        };
        let Some(guard) = lock.try_lock().or_else(waited) else {
            return false;
        };
        std::mem::forget(guard);
        self.set = self.set();
        self.one = NONE;
        self.set.add(index);
        true
    }

    /// The stripes that are held.
    pub fn set(&self) -> StripeSet {
        match self.one {
            NONE => self.set,
            one => StripeSet::one(one),
        }
    }

    /// Locks one stripe. The caller holds none.
    #[inline]
    pub fn lock_one(stripes: &'k [LockedStripe], index: usize) -> Held<'k> {
        let mut held = Held::nothing(stripes);
        held.enter(index);
        held
    }

    /// Locks one stripe, having held none.
    #[inline]
    pub fn enter(&mut self, index: usize) {
        debug_assert!(self.one == NONE && self.set == StripeSet::default());
        std::mem::forget(self.stripes[index].0.lock());
        self.one = index;
    }

    /// As `enter`, if nobody else has it; whether it is locked now.
    #[inline]
    pub fn try_enter(&mut self, index: usize) -> bool {
        debug_assert!(self.one == NONE && self.set == StripeSet::default());
        let Some(stripe) = self.stripes[index].0.try_lock() else {
            return false;
        };
        std::mem::forget(stripe);
        self.one = index;
        true
    }

    /// As `enter`, as long as `wait` says so; whether it is locked now.
    #[cold]
    pub fn enter_while(&mut self, index: usize, wait: impl Fn() -> bool) -> bool {
        while wait() {
            if let Some(stripe) = self.stripes[index].0.try_lock_for(PATIENCE) {
                std::mem::forget(stripe);
                self.one = index;
                return true;
            }
        }
        false
    }

    /// Unlocks the one stripe that `enter` locked.
    #[inline]
    pub fn leave(&mut self) {
        if self.one != NONE {
            // SAFETY: locked by `enter`; nothing borrowed from it is left,
            // since `self` is borrowed mutably.
            unsafe { self.stripes[self.one].0.force_unlock() };
            self.one = NONE;
        }
    }

    /// Runs `f` on one stripe under its lock, unless that is taken.
    #[inline]
    pub fn glance(stripes: &[LockedStripe], index: usize, f: impl FnOnce(&mut Stripe)) {
        if let Some(mut stripe) = stripes[index].0.try_lock() {
            f(&mut stripe);
        }
    }

    /// Locks all stripes if that takes no longer than `patience`.
    pub fn try_lock_all(
        stripes: &'k [LockedStripe],
        patience: std::time::Duration,
    ) -> Option<Held<'k>> {
        Held::try_lock(stripes, StripeSet::ALL, patience)
    }

    /// Locks some stripes if that takes no longer than `patience`.
    pub fn try_lock(
        stripes: &'k [LockedStripe],
        set: StripeSet,
        patience: std::time::Duration,
    ) -> Option<Held<'k>> {
        let deadline = std::time::Instant::now() + patience;
        let mut held = Held::nothing(stripes);
        for index in set.iter() {
            std::mem::forget(stripes[index].0.try_lock_until(deadline)?);
            held.set.add(index);
        }
        Some(held)
    }

    /// Locks some stripes, unless `give_up` says so while others have one of
    /// them. The caller holds none.
    pub fn lock_unless(
        stripes: &'k [LockedStripe],
        set: StripeSet,
        give_up: impl Fn() -> bool,
    ) -> Option<Held<'k>> {
        if let Some(held) = Held::try_now(stripes, set) {
            return Some(held);
        }
        while !give_up() {
            if let Some(held) = Held::try_lock(stripes, set, PATIENCE) {
                return Some(held);
            }
        }
        None
    }

    #[inline]
    fn try_now(stripes: &'k [LockedStripe], set: StripeSet) -> Option<Held<'k>> {
        let mut held = Held::nothing(stripes);
        if let Some(index) = set.only() {
            return held.try_enter(index).then_some(held);
        }
        for index in set.iter() {
            std::mem::forget(stripes[index].0.try_lock()?);
            held.set.add(index);
        }
        Some(held)
    }

    /// Whether this stripe is held.
    #[inline]
    pub fn holds(&self, stripe: usize) -> bool {
        self.one == stripe || self.set.has(stripe)
    }

    /// Whether any stripe is held.
    pub fn holds_any(&self) -> bool {
        self.one != NONE || self.set != StripeSet::default()
    }

    /// A held stripe.
    #[inline]
    pub fn stripe(&mut self, index: usize) -> &mut Stripe {
        assert!(self.holds(index), "stripe {index} is not locked");
        // SAFETY: the lock is held by this value, which is borrowed mutably.
        unsafe { &mut *self.stripes[index].0.data_ptr() }
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.leave();
        if self.set != StripeSet::default() {
            for index in self.set.iter() {
                // SAFETY: locked by `lock` or `try_lock_all`, unlocked only here.
                unsafe { self.stripes[index].0.force_unlock() };
            }
        }
    }
}
