//! What an entry knows of its own use: when it was accessed, and what of it
//! the tree has, both written through shared borrows under the stripe's lock;
//! and whether a part of it expires by itself.

use super::{COLD, DIRTY, Entry, Hash, IN_TREE, Kind, ValueRef, ValueType, frequency};

/// What lies in the place of a value that can't be read: no type's letter.
const UNREADABLE: &[u8] = b"?";

impl Entry {
    /// Whether it is a hash of which some field expires.
    #[inline]
    pub fn has_expiring_fields(&self) -> bool {
        // SAFETY: the payload is of the header's kind.
        self.header().kind == Kind::Hash
            && unsafe { &*self.payload_ptr().cast::<Hash>() }.has_expiries()
    }

    /// 24 bits of eviction clock: LRU time or LFU counter, as configured.
    #[inline]
    pub fn access(&self) -> u32 {
        self.header().access
    }

    /// Sets the eviction clock; the line is written only when it changes.
    ///
    /// The write goes through a shared borrow: callers hold the stripe's lock.
    #[inline]
    pub fn set_access(&self, access: u32) {
        if self.header().access != access {
            // SAFETY: the stripe's lock gives this thread the entry alone;
            // no reference to the field itself is ever handed out.
            unsafe { (&raw mut (*self.0.as_ptr()).access).write(access) };
        }
    }

    /// Notes a use: `stamp` is the eviction clock, or asks for the use to be
    /// counted (see `frequency.rs`).
    #[inline]
    pub fn touch(&self, stamp: u32) {
        if stamp & frequency::COUNTED == 0 {
            self.set_access(stamp);
        } else {
            self.set_access(frequency::used(self.access(), stamp));
        }
    }

    /// Notes a use of what takes the place of `old`, whose uses it inherits if
    /// they are counted.
    #[inline]
    pub fn touch_as(&self, old: &Entry, stamp: u32) {
        if stamp & frequency::COUNTED != 0 {
            self.set_access(old.access());
        }
        self.touch(stamp);
    }

    /// The entry of a key whose value is in the tree only.
    pub fn new_cold(key: &[u8], value_type: ValueType, expire_at_ms: Option<i64>) -> Entry {
        // A letter, which is kept inline as it is.
        let letter = [b'A' + value_type as u8];
        let mut entry = Entry::new_string(key, &letter, expire_at_ms);
        entry.header_mut().flags |= COLD;
        entry
    }

    /// The entry of a key whose row in the tree can't be read.
    pub fn new_unreadable(key: &[u8]) -> Entry {
        let mut entry = Entry::new_string(key, UNREADABLE, None);
        entry.header_mut().flags |= COLD;
        entry
    }

    /// Whether nothing but the key could be read: not its type, nor when it expires.
    pub fn is_unreadable(&self) -> bool {
        self.is_cold() && matches!(self.value(), ValueRef::Bytes(UNREADABLE))
    }

    /// The type of the value, if it could be read.
    pub fn known_type(&self) -> Option<ValueType> {
        (!self.is_unreadable()).then(|| self.value_type())
    }

    /// Whether the value is in the tree only.
    #[inline]
    pub fn is_cold(&self) -> bool {
        self.header().flags & COLD != 0
    }

    pub(super) fn cold_type(&self) -> ValueType {
        let letter = match self.value() {
            ValueRef::Bytes([letter]) => *letter,
            _ => b'A',
        };
        let all = ValueType::ALL.iter().copied();
        all.into_iter()
            .find(|one| b'A' + *one as u8 == letter)
            .unwrap_or(ValueType::String)
    }

    /// Whether the tree has, or is about to have, a row for the key.
    #[inline]
    pub fn is_in_tree(&self) -> bool {
        self.header().flags & IN_TREE != 0
    }

    /// Notes that the tree has, or is about to have, a row for the key.
    #[inline]
    pub fn set_in_tree(&self) {
        let flags = self.header().flags | IN_TREE;
        // SAFETY: as in `set_access`.
        unsafe { (&raw mut (*self.0.as_ptr()).flags).write(flags) };
    }

    /// Whether the key is in the set of changed keys of this parity's epoch.
    #[inline]
    pub fn is_dirty(&self, parity: usize) -> bool {
        self.header().flags & DIRTY[parity] != 0
    }

    /// Marks the key as being, or no longer being, in that set.
    #[inline]
    pub fn set_dirty(&self, parity: usize, dirty: bool) {
        let flags = self.header().flags;
        let new = if dirty {
            flags | DIRTY[parity]
        } else {
            flags & !DIRTY[parity]
        };
        // SAFETY: as in `set_access`.
        unsafe { (&raw mut (*self.0.as_ptr()).flags).write(new) };
    }
}
