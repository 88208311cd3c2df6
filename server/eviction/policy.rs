//! Which keys go first: `maxmemory-policy`.

use crate::keyspace::entry::{Entry, frequency};

/// The eviction clock counts seconds in so many bits.
pub(super) const CLOCK_MASK: u32 = 0xff_ffff;

/// What goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// What was not used for the longest time.
    LeastRecent,
    /// What is used least often.
    LeastFrequent,
    /// Anything.
    Random,
    /// What expires soonest.
    Soonest,
}

/// `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What goes first.
    pub order: Order,
    /// Only keys with an expiry go.
    pub volatile_only: bool,
    /// Keys stay, only their values leave RAM: they are in the tree.
    pub to_tree: bool,
}

/// The policy that is none of the field's: see [`Policy::to_tree`].
pub const VALUES_TO_TREE: &str = "values-to-tree";

impl Policy {
    /// The policy of this name; None for `noeviction`.
    pub fn named(name: &str) -> Option<Policy> {
        if name == VALUES_TO_TREE {
            return Some(Policy {
                order: Order::LeastRecent,
                volatile_only: false,
                to_tree: true,
            });
        }
        let (which, order) = name.split_once('-')?;
        let order = match order {
            "lru" => Order::LeastRecent,
            "lfu" => Order::LeastFrequent,
            "random" => Order::Random,
            "ttl" => Order::Soonest,
            _ => return None,
        };
        Some(Policy {
            order,
            volatile_only: which == "volatile",
            to_tree: false,
        })
    }

    /// How fit an entry is to go; the highest goes first. None: never.
    pub(super) fn fitness(self, entry: &Entry, now_ms: i64) -> Option<u64> {
        let expire_at_ms = entry.expire_at_ms();
        if self.volatile_only && expire_at_ms.is_none() {
            return None;
        }
        let dirty = entry.is_dirty(0) || entry.is_dirty(1);
        if self.to_tree && (entry.is_cold() || dirty) {
            return None;
        }
        let clock = (now_ms / 1000) as u32 & CLOCK_MASK;
        Some(match self.order {
            Order::LeastRecent => u64::from(clock.wrapping_sub(entry.access()) & CLOCK_MASK),
            Order::LeastFrequent => u64::from(255 - frequency::decayed(entry.access(), now_ms)),
            Order::Random => 0,
            Order::Soonest => u64::MAX - expire_at_ms.unwrap_or(i64::MAX).max(0) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_policies_are_known_by_name() {
        for which in ["volatile", "allkeys"] {
            for order in ["lru", "lfu", "random"] {
                let policy = Policy::named(&format!("{which}-{order}")).unwrap();
                assert_eq!(policy.volatile_only, which == "volatile");
            }
        }
        assert_eq!(Policy::named("volatile-ttl").unwrap().order, Order::Soonest);
        assert_eq!(Policy::named("noeviction"), None);
    }

    #[test]
    fn what_was_used_longest_ago_or_expires_soonest_is_fittest() {
        let now_ms = 1_700_000_000_000;
        let entry = |access: u32, expiry| {
            let entry = Entry::new_string(b"k", b"v", expiry);
            entry.set_access(access);
            entry
        };
        let clock = (now_ms / 1000) as u32 & CLOCK_MASK;
        let lru = Policy::named("allkeys-lru").unwrap();
        let (old, new) = (entry(clock - 100, None), entry(clock, None));
        assert_eq!(lru.fitness(&old, now_ms), Some(100));
        assert_eq!(lru.fitness(&new, now_ms), Some(0));
        let ttl = Policy::named("volatile-ttl").unwrap();
        let (soon, late) = (entry(0, Some(now_ms + 1)), entry(0, Some(now_ms + 9)));
        assert!(ttl.fitness(&soon, now_ms) > ttl.fitness(&late, now_ms));
        assert_eq!(ttl.fitness(&new, now_ms), None);
    }
}
