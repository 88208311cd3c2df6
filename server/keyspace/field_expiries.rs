//! Which hashes of a stripe have a field that expires, and when the keyspace
//! looks at each of them next.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A moment for each hash of which a field expires, never later than its first
/// such field; there may be moments at which nothing is due any more. A hash is
/// known by its slot within the stripe and the hash of its key.
#[derive(Default)]
pub struct FieldExpiries {
    /// Soonest first: (Unix ms, slot, hash of the key).
    order: BTreeSet<(i64, u8, u64)>,
    /// The one moment of each.
    moments: BTreeMap<(u8, u64), i64>,
}

impl FieldExpiries {
    /// Has a hash looked at then, unless it is earlier anyway.
    pub fn schedule(&mut self, slot: u8, hash: u64, at_ms: i64) {
        match self.moments.entry((slot, hash)) {
            Entry::Occupied(known) if *known.get() <= at_ms => return,
            Entry::Occupied(mut known) => {
                let later_ms = known.insert(at_ms);
                self.order.remove(&(later_ms, slot, hash));
            }
            Entry::Vacant(place) => {
                place.insert(at_ms);
            }
        }
        self.order.insert((at_ms, slot, hash));
    }

    /// The hash is gone.
    pub fn forget(&mut self, slot: u8, hash: u64) {
        if let Some(at_ms) = self.moments.remove(&(slot, hash)) {
            self.order.remove(&(at_ms, slot, hash));
        }
    }

    /// Takes out the first whose moment has come: slot, and hash of the key.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<(u8, u64)> {
        let &(_, slot, hash) = self.order.first().filter(|(at_ms, ..)| *at_ms <= now_ms)?;
        self.forget(slot, hash);
        Some((slot, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_known_once_at_its_earliest_moment() {
        let mut expiries = FieldExpiries::default();
        for at_ms in [30, 20, 40] {
            expiries.schedule(1, 7, at_ms);
        }
        expiries.schedule(2, 7, 10);
        expiries.schedule(3, 8, 5);
        expiries.forget(3, 8);
        assert_eq!(expiries.order.len(), 2);
        assert_eq!(expiries.pop_due(9), None);
        assert_eq!(expiries.pop_due(20), Some((2, 7)));
        assert_eq!(expiries.pop_due(20), Some((1, 7)));
        assert!(expiries.order.is_empty() && expiries.moments.is_empty());
    }
}
