//! Which keys changed since the tree last took them over.
//!
//! The tree's transactions must hold exactly the effects up to one offset of
//! the log (I4), while writes go on. So changes are counted in *epochs*. A
//! checkpoint begins by locking every stripe for a moment: it notes the log's
//! end and starts the next epoch; the epoch before is then frozen. It collects
//! the frozen keys' values stripe by stripe. A command that is about to change
//! a frozen key which is not collected yet first leaves its value behind as a
//! *pre-image*. Two epochs are alive at most, told apart by their parity.
//!
//! | in an entry's flags | meaning                                          |
//! |---------------------|--------------------------------------------------|
//! | current parity      | the key is in `changed[current]`                 |
//! | frozen parity       | the key's frozen value is not collected yet      |

use std::collections::HashSet;

use super::entry::Entry;
use super::rows::Rows;

/// A key as a number: 6 bits of slot within the stripe, 16 bits of tag, 32
/// bits of position; enough to find its entry again (see `table.rs`).
pub fn packed(slot_in_stripe: usize, hash: u64) -> u64 {
    ((slot_in_stripe as u64) << 48) | ((hash >> 32) << 16) | (hash & 0xffff)
}

/// Takes apart what [`packed`] made: slot within the stripe, and a hash that
/// is equal in tag and position.
pub fn unpacked(packed: u64) -> (usize, u64) {
    let position = (packed >> 16) & 0xffff_ffff;
    (
        (packed >> 48) as usize,
        (position << 32) | (packed & 0xffff),
    )
}

/// What a frozen key was at the checkpoint's offset.
pub enum PreImage {
    /// The entry itself: it was replaced or removed as a whole since.
    Entry(Entry),
    /// Its row, written before the value was changed in place.
    Row(Rows),
}

/// The changed keys of one database's share of a stripe.
#[derive(Default)]
pub struct DirtyKeys {
    /// By parity: keys that were written, as [`packed`] numbers, each once.
    pub changed: [Vec<u64>; 2],
    /// By parity: keys that were removed. They may have been made anew since,
    /// and may never have been in the tree.
    pub removed: [HashSet<Box<[u8]>, ahash::RandomState>; 2],
    /// Of `changed`, what the checkpoint under way has collected: should it fail,
    /// the next one has to collect it again.
    pub collected: Vec<u64>,
    /// Frozen values that were about to be overwritten.
    pub pre_images: Vec<PreImage>,
}

impl DirtyKeys {
    /// Whether the tree knows of everything.
    pub fn is_empty(&self) -> bool {
        self.changed.iter().all(Vec::is_empty)
            && self.removed.iter().all(HashSet::is_empty)
            && self.collected.is_empty()
            && self.pre_images.is_empty()
    }

    /// Whether `key` was removed since the tree's last commit, so that what
    /// the tree still has under it is no longer true.
    pub fn is_removed(&self, key: &[u8]) -> bool {
        self.removed
            .iter()
            .any(|set| !set.is_empty() && set.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_what_a_table_needs() {
        let (slot, hash) = unpacked(packed(63, 0x1234_5678_9abc_def0));
        assert_eq!((slot, hash), (63, 0x1234_5678_0000_def0));
    }
}
