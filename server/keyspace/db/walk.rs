//! What concerns a database as a whole, or its slots and stripes one after
//! another: counts, FLUSHALL, SCAN, random keys, keys that are due.

use std::ops::Bound;

use super::{Db, DbError, ExpiryMode};
use crate::keyspace::KeyRef;
use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, STRIPES};

impl Db<'_> {
    /// How many keys the database has.
    pub fn len(&self) -> u64 {
        self.keyspace.key_count(self.index)
    }

    /// Whether the database has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every key of a logical database, in no time; the memory is
    /// freed in the background. Every stripe must be held. Returns how many
    /// keys there were.
    pub fn flush(&mut self, index: u32) -> u64 {
        assert!(
            (0..STRIPES).all(|s| self.held.holds(s)),
            "a flush needs every stripe"
        );
        let keys = self.keyspace.key_count(index);
        self.keyspace.retire(&mut self.held, index);
        self.physical = self.keyspace.physical(self.index);
        keys
    }

    /// Exchanges two logical databases. Every stripe must be held.
    pub fn swap(&mut self, one: u32, other: u32) {
        assert!(
            (0..STRIPES).all(|s| self.held.holds(s)),
            "a swap needs every stripe"
        );
        self.keyspace.swap(one, other);
        self.physical = self.keyspace.physical(self.index);
    }

    /// Visits the keys of one bucket of one slot, from `cursor` on. The
    /// cursor is `slot << 32 | position`; the slot's stripe must be held.
    /// Returns the next cursor within the slot, or None when it is done.
    /// Expired keys are not visited.
    pub fn scan_slot(
        &mut self,
        cursor: u64,
        mut f: impl FnMut(&Entry),
    ) -> Result<Option<u64>, DbError> {
        let slot = (cursor >> 32) as u16;
        self.warm_slot(slot)?;
        let (now_ms, mode) = (self.now_ms, self.expiry_mode);
        let next = self.table(slot).scan(cursor & 0xffff_ffff, |entry| {
            let expired = entry.expire_at_ms().is_some_and(|at| at <= now_ms);
            if !expired || mode == ExpiryMode::Ignore {
                f(entry);
            }
        });
        Ok((next != 0).then_some(u64::from(slot) << 32 | next))
    }

    /// How many keys of a slot are in RAM; all of them once it is warm.
    pub fn slot_len(&mut self, slot: u16) -> Result<usize, DbError> {
        self.warm_slot(slot)?;
        Ok(self.table(slot).len())
    }

    /// Whether the stripe may have keys in this database; cheap.
    pub fn stripe_may_have_keys(&mut self, stripe: usize) -> bool {
        let physical = self.physical as usize;
        match self.held.stripe(stripe).dbs.get(physical) {
            Some(Some(share)) => share.cold != 0 || share.tables.iter().any(|t| !t.is_empty()),
            _ => false,
        }
    }

    /// An even pick among a slot's keys, expired ones included.
    pub fn random_in_slot(
        &mut self,
        slot: u16,
        rng: impl FnMut() -> u64,
    ) -> Result<Option<Vec<u8>>, DbError> {
        self.warm_slot(slot)?;
        Ok(self.table(slot).random(rng).map(|e| e.key().to_vec()))
    }

    /// Removes up to `limit` keys of a held stripe that are due, soonest
    /// first; returns how many. Nothing happens unless expired keys are to be
    /// removed at all.
    pub fn remove_due(&mut self, stripe: usize, limit: usize) -> usize {
        self.remove_due_where(stripe, limit, |_| true)
    }

    /// As [`Db::remove_due`], leaving the entries that are not `wanted`; at
    /// most `limit` of those are passed by.
    pub fn remove_due_where(
        &mut self,
        stripe: usize,
        limit: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> usize {
        let (mut removed, mut passed) = (0, 0);
        let mut from = Bound::Unbounded;
        let first_slot = stripe * SLOTS_PER_STRIPE;
        while removed < limit && passed < limit && self.expiry_mode == ExpiryMode::Remove {
            let (now_ms, physical) = (self.now_ms, self.physical as usize);
            let Some(Some(share)) = self.held.stripe(stripe).dbs.get_mut(physical) else {
                break;
            };
            let next = share.expiries.range((from, Bound::Unbounded)).next();
            let Some(&(at_ms, slot, hash)) = next else {
                break;
            };
            if at_ms > now_ms {
                break;
            }
            let (mut due, mut kept) = (Vec::new(), false);
            share.tables[usize::from(slot)].with_hash(hash, |entry| {
                if entry.expire_at_ms() == Some(at_ms) {
                    match wanted(entry) {
                        true => due.push(entry.key().to_vec()),
                        false => kept = true,
                    }
                }
            });
            if kept {
                from = Bound::Excluded((at_ms, slot, hash));
                passed += 1;
            } else {
                share.expiries.remove(&(at_ms, slot, hash));
            }
            for key in due {
                let key = KeyRef::new(&key);
                debug_assert_eq!(usize::from(key.slot), first_slot + usize::from(slot));
                // The others with this hash and moment go with it, and their
                // own place in the index is found empty later.
                self.remove_expired(&key);
                removed += 1;
            }
        }
        removed
    }
}
