//! What eviction needs: keys picked by chance, and their removal.

use std::ops::Bound;

use super::Db;
use crate::keyspace::entry::Entry;
use crate::keyspace::recorder::class;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, StripeDb};
use crate::keyspace::table::Borrowed;

impl Db<'_> {
    /// Shows up to `limit` resident keys of a held stripe, picked by chance, of
    /// different slots; or, if `volatile`, that which expires soonest and such
    /// as expire behind a random moment.
    pub fn sample(
        &mut self,
        stripe: usize,
        limit: usize,
        volatile: bool,
        f: &mut dyn FnMut(&Entry),
    ) {
        let physical = self.physical as usize;
        let Some(Some(share)) = self.held.stripe(stripe).dbs.get_mut(physical) else {
            return;
        };
        if volatile {
            let range = (share.expiries.first(), share.expiries.last());
            let (Some(&first), Some(&last)) = range else {
                return;
            };
            let from = (fastrand::i64(first.0..=last.0), 0, 0);
            let behind = share
                .expiries
                .range((Bound::Included(from), Bound::Unbounded));
            let soonest = share.expiries.iter();
            for &(at_ms, slot, hash) in soonest.take(1).chain(behind).take(limit) {
                share.tables[usize::from(slot)].with_hash(hash, |entry| {
                    if entry.expire_at_ms() == Some(at_ms) {
                        f(entry);
                    }
                });
            }
            return;
        }
        let start = fastrand::usize(..SLOTS_PER_STRIPE);
        let slots = (0..SLOTS_PER_STRIPE).map(|step| (start + step) % SLOTS_PER_STRIPE);
        let filled = slots.filter(|&slot| !share.tables[slot].is_empty());
        for slot in filled.take(limit) {
            if let Some(entry) = share.tables[slot].random(|| fastrand::u64(..)) {
                f(&entry);
            }
        }
    }

    /// The entry of a key if it is in RAM, whether it has expired or not.
    pub fn resident(&mut self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let key = self.key_ref(key);
        self.table(key.slot).find(key.hash, key.bytes)
    }

    /// Removes a key for want of memory; gives about how many bytes that frees,
    /// None when there is no such key.
    pub fn evict(&mut self, key: &[u8]) -> Option<usize> {
        let found = self.key_ref(key);
        let mut freed = self.resident(key)?.memory_bytes();
        self.detach(&found);
        freed += self.drop_empty_share(found.stripe());
        self.event(class::EVICTED, "evicted", key);
        if let Some(change) = self.recorder.changes.last_mut() {
            change.changed = true;
        }
        Some(freed)
    }

    /// Frees this database's share of a stripe if nothing is in it; gives its
    /// size.
    fn drop_empty_share(&mut self, stripe: usize) -> usize {
        let place = self.held.stripe(stripe).dbs.get_mut(self.physical as usize);
        match place {
            Some(place) if place.as_deref().is_some_and(StripeDb::is_empty) => {
                *place = None;
                size_of::<StripeDb>()
            }
            _ => 0,
        }
    }
}
