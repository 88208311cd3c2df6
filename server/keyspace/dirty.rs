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

use std::sync::Arc;

use redoubt_cluster::slots::Slot;

use super::element::Member;
use super::entry::Entry;
use super::rows::Rows;
use super::table::{Borrowed, Table, hash_bytes};
use crate::memory::ForTree;

/// A key as a number: 6 bits of slot within the stripe, 16 bits of tag, 32
/// bits of position; enough to find its entry again (see `table.rs`).
pub fn packed(slot_in_stripe: usize, hash: u64) -> u64 {
    ((slot_in_stripe as u64) << 48) | ((hash >> 32) << 16) | (hash & 0xffff)
}

/// What a table needs for an element, about.
const WORD_BYTES: usize = 16;

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

impl PreImage {
    fn memory_bytes(&self) -> usize {
        let content = match self {
            PreImage::Entry(entry) => entry.memory_bytes(),
            PreImage::Row(rows) => rows.memory_bytes(),
        };
        size_of::<PreImage>() + content
    }
}

/// Frozen values that were about to be overwritten.
#[derive(Default)]
pub struct PreImages {
    list: Vec<PreImage>,
    counted: ForTree,
}

impl PreImages {
    /// Keeps one.
    pub fn push(&mut self, pre_image: PreImage) {
        self.counted.add(pre_image.memory_bytes());
        self.list.push(pre_image);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Hands them to `f`, one after the other.
    pub fn each<E>(self, mut f: impl FnMut(PreImage) -> Result<(), E>) -> Result<(), E> {
        self.list.into_iter().try_for_each(&mut f)
    }

    /// Frees them.
    pub fn free(self) {
        for pre_image in self.list {
            if let PreImage::Entry(entry) = pre_image {
                super::free_entry(entry);
            }
        }
    }
}

/// Keys that were removed, a set that never grows all at once.
#[derive(Default)]
pub struct Removed {
    keys: Table<Member>,
    counted: ForTree,
}

impl Removed {
    fn contains(&self, key: &[u8]) -> bool {
        !self.keys.is_empty() && self.keys.find(hash_bytes(key), key).is_some()
    }

    fn add(&mut self, key: &[u8]) {
        if !self.contains(key) {
            let member = Member::new(key);
            self.counted.add(member.memory_bytes() + WORD_BYTES);
            self.keys.insert_new(hash_bytes(key), member);
        }
    }

    /// The keys in the tree's order. The pages of rows that are deleted in another
    /// order all become free at last only, which is more than a transaction of
    /// LMDB can hold (`MDB_TXN_FULL`) where they have more than 512 MB.
    pub fn in_order(&self) -> impl Iterator<Item = Borrowed<'_, Member>> {
        let keys = self.keys.iter();
        let mut keys: Vec<_> = keys
            .map(|key| (Slot::of_key(key.name()).number(), key))
            .collect();
        keys.sort_unstable_by(|(slot, key), (other, next)| {
            (slot, key.name()).cmp(&(other, next.name()))
        });
        keys.into_iter().map(|(_, key)| key)
    }
}

/// The changed keys of one database's share of a stripe.
#[derive(Default)]
pub struct DirtyKeys {
    /// By parity: keys that were written, as [`packed`] numbers, each once.
    pub changed: [Vec<u64>; 2],
    /// By parity: keys that were removed. They may have been made anew since,
    /// and may never have been in the tree. Those of the frozen epoch become no
    /// more: a checkpoint reads them without the lock.
    pub removed: [Arc<Removed>; 2],
    /// Of `changed`, what the checkpoint under way has collected, ascending:
    /// should it fail, the next one has to collect it again.
    pub collected: Vec<u64>,
    /// Frozen values that were about to be overwritten.
    pub pre_images: PreImages,
}

impl DirtyKeys {
    /// Whether the tree knows of everything.
    pub fn is_empty(&self) -> bool {
        self.changed.iter().all(Vec::is_empty)
            && self.removed.iter().all(|set| set.keys.is_empty())
            && self.collected.is_empty()
            && self.pre_images.is_empty()
    }

    /// Notes a removal in the epoch of this parity, which is not frozen.
    pub fn note_removed(&mut self, parity: usize, key: &[u8]) {
        self.share_removed(parity).add(key);
    }

    /// Makes the frozen epoch's removals the current one's.
    pub fn give_back_removed(&mut self, frozen: usize) {
        let removed = std::mem::take(&mut self.removed[frozen]);
        let current = self.share_removed(1 - frozen);
        removed.keys.iter().for_each(|key| current.add(key.name()));
    }

    fn share_removed(&mut self, parity: usize) -> &mut Removed {
        Arc::get_mut(&mut self.removed[parity]).expect("only the frozen epoch's is read elsewhere")
    }

    /// Whether the checkpoint under way takes over this key's value, or that of
    /// another that looks the same as a [`packed`] number.
    pub fn is_collected(&self, slot_in_stripe: usize, hash: u64) -> bool {
        let number = packed(slot_in_stripe, hash);
        self.collected.binary_search(&number).is_ok()
    }

    /// Whether `key` was removed since the tree's last commit, so that what
    /// the tree still has under it is no longer true.
    pub fn is_removed(&self, key: &[u8]) -> bool {
        self.removed.iter().any(|set| set.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_collected_is_known() {
        let mut dirty = DirtyKeys::default();
        assert!(!dirty.is_collected(3, 7));
        dirty.collected = vec![packed(1, 9), packed(3, 7), packed(63, 1)];
        assert!(dirty.is_collected(3, 7) && dirty.is_collected(63, 1));
        assert!(!dirty.is_collected(2, 7));
    }

    #[test]
    fn packing_keeps_what_a_table_needs() {
        let (slot, hash) = unpacked(packed(63, 0x1234_5678_9abc_def0));
        assert_eq!((slot, hash), (63, 0x1234_5678_0000_def0));
    }
}
