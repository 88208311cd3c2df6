//! An entry as OBJECT ENCODING and MEMORY USAGE see it, and what freeing it
//! costs.

use super::{CHANGED_IN_PLACE, Entry, Kind, ValueRef};

/// Whether a string of this length that was never changed in place is
/// "embstr": in the field, whether key and value share a block of 128 bytes,
/// of which the lengths of keys from 32 bytes on take two more.
fn is_embedded(key_len: usize, value_len: usize) -> bool {
    key_len + value_len <= if key_len < 32 { 113 } else { 111 }
}

impl Entry {
    /// The name OBJECT ENCODING answers with.
    pub fn encoding(&self) -> &'static str {
        match self.value() {
            ValueRef::Int(_) => "int",
            ValueRef::Bytes(bytes) => {
                let changed = self.header().flags & CHANGED_IN_PLACE != 0;
                match !changed && is_embedded(self.key().len(), bytes.len()) {
                    true => "embstr",
                    false => "raw",
                }
            }
            ValueRef::List(list) => list.encoding(),
            ValueRef::Set(set) => set.encoding(),
            ValueRef::Hash(hash) => hash.encoding(),
            ValueRef::ZSet(zset) => zset.encoding(),
            ValueRef::Stream(stream) => stream.encoding(),
        }
    }

    /// Bytes that the entry and its value hold (MEMORY USAGE).
    pub fn memory_bytes(&self) -> usize {
        let header = self.header();
        let (key_len, value_len) = (header.key_len as usize, header.value_len as usize);
        let own = Entry::layout(header.kind, header.flags, key_len, value_len).size();
        own + match self.value() {
            ValueRef::Int(_) => 0,
            ValueRef::Bytes(bytes) if header.kind == Kind::Big => bytes.len() + 24,
            ValueRef::Bytes(_) => 0,
            ValueRef::List(list) => list.memory_bytes(),
            ValueRef::Set(set) => set.memory_bytes(),
            ValueRef::Hash(hash) => hash.memory_bytes(),
            ValueRef::ZSet(zset) => zset.memory_bytes(),
            ValueRef::Stream(stream) => stream.memory_bytes(),
        }
    }

    /// Where most of a string lies, or the head of another value.
    pub fn address(&self) -> usize {
        match self.value() {
            ValueRef::Bytes(bytes) => bytes.as_ptr().addr(),
            _ => self.key().as_ptr().addr(),
        }
    }

    /// Whether dropping the value takes long enough to be worth a thread.
    pub fn is_costly_to_free(&self) -> bool {
        match self.value() {
            ValueRef::Int(_) => false,
            ValueRef::Bytes(bytes) => bytes.len() > 1 << 20,
            ValueRef::List(list) => list.len() > 4096,
            ValueRef::Set(set) => set.len() > 512,
            ValueRef::Hash(hash) => hash.len() > 512,
            ValueRef::ZSet(zset) => zset.len() > 512,
            ValueRef::Stream(stream) => stream.is_costly_to_free(),
        }
    }
}
