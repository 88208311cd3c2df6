//! A listpack: a sequence of strings and integers in one block of bytes.
//!
//! The bytes are exactly Redis's listpack, so that DUMP, the tree and a full
//! sync copy them as they are:
//!
//! ```text
//! <total bytes, u32 LE> <entries, u16 LE> <entry> … <0xFF>
//! ```
//!
//! The count is 65535 when there are that many entries or more; they are then
//! counted by reading. Entries are described in [`entry`].
//!
//! A *position* is the offset of an entry in the bytes; it is valid until the
//! listpack changes. The offset of the final `0xFF` is the position at which
//! an entry is appended.

pub(super) mod entry;
#[cfg(test)]
pub(super) mod tests;

use super::block::{Block, capacity};
use super::limits::LISTPACK_MAX_BYTES;
use entry::{END, back_len_size, decode, decode_back_len, encode, encoded_len};
pub use entry::{Entry, IntBuffer, Needle, parse_canonical_i64};

const HEADER: usize = 6;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// An owned listpack; one pointer.
pub struct Listpack(Block);

impl Drop for Listpack {
    fn drop(&mut self) {
        let len = self.bytes_len();
        // SAFETY: the header holds the block's length.
        unsafe { self.0.free(len) };
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Self {
        Self::from_validated_bytes(self.as_bytes())
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Self {
        Self::from_validated_bytes(&[HEADER as u8 + 1, 0, 0, 0, 0, 0, END])
    }

    /// A copy of bytes that [`validate`] has accepted.
    pub fn from_validated_bytes(bytes: &[u8]) -> Self {
        assert!(bytes.len() > HEADER && bytes[..4] == (bytes.len() as u32).to_le_bytes());
        let mut block = Block::new(bytes.len());
        // SAFETY: that is the length it was made with.
        unsafe { block.bytes_mut(bytes.len()) }.copy_from_slice(bytes);
        Self(block)
    }

    /// A copy of a listpack from outside; `None` when it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        validate(bytes).map(|_| Self::from_validated_bytes(bytes))
    }

    /// The whole listpack.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the header holds the block's length.
        unsafe { self.0.bytes(self.bytes_len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.bytes_len();
        // SAFETY: the header holds the block's length.
        unsafe { self.0.bytes_mut(len) }
    }

    /// Bytes of the whole listpack.
    #[inline]
    pub fn bytes_len(&self) -> usize {
        // SAFETY: a listpack is never shorter than its header.
        let header = unsafe { self.0.bytes(4) };
        u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        capacity(self.bytes_len())
    }

    /// Entries.
    pub fn len(&self) -> usize {
        match self.counter() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes_len() == HEADER + 1
    }

    /// Whether `bytes` more fit within the format's limit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        bytes.saturating_add(self.bytes_len()) <= LISTPACK_MAX_BYTES
    }

    fn counter(&self) -> u16 {
        let bytes = self.as_bytes();
        u16::from_le_bytes([bytes[4], bytes[5]])
    }

    fn set_counter(&mut self, count: u16) {
        self.bytes_mut()[4..6].copy_from_slice(&count.to_le_bytes());
    }

    fn count_added(&mut self, added: usize) {
        let count = usize::from(self.counter()).saturating_add(added);
        self.set_counter(u16::try_from(count).unwrap_or(COUNT_UNKNOWN));
    }

    fn count_removed(&mut self, removed: usize) {
        match self.counter() {
            COUNT_UNKNOWN => {
                // Entries have at least two bytes: below this size there may
                // be few enough of them to be written in the header again.
                if self.bytes_len() < 2 * usize::from(COUNT_UNKNOWN) + HEADER {
                    let count = self.iter().count();
                    self.set_counter(u16::try_from(count).unwrap_or(COUNT_UNKNOWN));
                }
            }
            count => self.set_counter(count - removed as u16),
        }
    }

    /// The entry at a position; `None` at the end.
    #[inline]
    pub fn get(&self, at: usize) -> Option<Entry<'_>> {
        decode(&self.as_bytes()[at..]).map(|(entry, _)| entry)
    }

    /// The position of the first entry, or the end's.
    pub fn first(&self) -> usize {
        HEADER
    }

    /// The position of the end.
    pub fn end(&self) -> usize {
        self.bytes_len() - 1
    }

    /// The position after that of an entry.
    pub fn next(&self, at: usize) -> usize {
        skip(self.as_bytes(), at)
    }

    /// The position before `at`, which may be the end's.
    pub fn prev(&self, at: usize) -> Option<usize> {
        prev(self.as_bytes(), at)
    }

    /// The position of the entry at `index`.
    pub fn seek(&self, index: usize) -> Option<usize> {
        let bytes = self.as_bytes();
        let len = self.len();
        if index >= len {
            return None;
        }
        if index <= len / 2 {
            Some((0..index).fold(HEADER, |at, _| skip(bytes, at)))
        } else {
            (index..len).try_fold(self.end(), |at, _| prev(bytes, at))
        }
    }

    /// All entries, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_between(HEADER, self.end())
    }

    /// The entries from position `from` up to, without, position `to`.
    pub fn iter_between(&self, from: usize, to: usize) -> Iter<'_> {
        Iter {
            bytes: self.as_bytes(),
            front: from,
            back: to,
        }
    }

    /// The position of the first entry equal to `needle`, from position `from`
    /// on, where `skipped` entries are passed over after each one that is
    /// compared (1: the fields of a hash, not its values).
    pub fn find(&self, from: usize, needle: &Needle<'_>, skipped: usize) -> Option<usize> {
        let bytes = self.as_bytes();
        let mut at = from;
        loop {
            match bytes[at] {
                END => return None,
                // The two forms nearly all entries have.
                small @ 0x00..=0x7F => {
                    if needle.int == Some(i64::from(small)) {
                        return Some(at);
                    }
                    at += 2;
                }
                short @ 0x80..=0xBF => {
                    let len = usize::from(short & 0x3F);
                    if len == needle.bytes.len() && bytes[at + 1..at + 1 + len] == *needle.bytes {
                        return Some(at);
                    }
                    at += len + 2;
                }
                _ => {
                    if decode(&bytes[at..]).is_some_and(|(entry, _)| needle.matches(entry)) {
                        return Some(at);
                    }
                    at = skip(bytes, at);
                }
            }
            for _ in 0..skipped {
                at = skip(bytes, at);
            }
        }
    }

    /// Inserts entries before position `at`.
    pub fn insert(&mut self, at: usize, entries: &[Entry<'_>]) {
        let added = entries.iter().map(|&entry| encoded_len(entry)).sum();
        self.splice(at, 0, added);
        self.write(at, entries);
        self.count_added(entries.len());
    }

    pub fn push_back(&mut self, entry: Entry<'_>) {
        self.insert(self.end(), &[entry]);
    }

    pub fn push_front(&mut self, entry: Entry<'_>) {
        self.insert(HEADER, &[entry]);
    }

    /// Puts `entry` in the place of the one at `at`.
    pub fn replace(&mut self, at: usize, entry: Entry<'_>) {
        let old = self.next(at) - at;
        self.splice(at, old, encoded_len(entry));
        self.write(at, &[entry]);
    }

    /// Deletes `count` entries, or as many as there are, from position `at`
    /// on. Returns how many.
    pub fn delete(&mut self, at: usize, count: usize) -> usize {
        let bytes = self.as_bytes();
        let (mut to, mut deleted) = (at, 0);
        while deleted < count && bytes[to] != END {
            to = skip(bytes, to);
            deleted += 1;
        }
        self.splice(at, to - at, 0);
        self.count_removed(deleted);
        deleted
    }

    /// Moves the entries from position `at` on into a listpack of their own.
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut tail = Self::new();
        let moved = self.end() - at;
        tail.splice(HEADER, 0, moved);
        tail.bytes_mut()[HEADER..HEADER + moved].copy_from_slice(&self.as_bytes()[at..at + moved]);
        let count = tail.iter().count();
        tail.count_added(count);
        self.splice(at, moved, 0);
        self.count_removed(count);
        tail
    }

    /// Appends all entries of `other`.
    pub fn append(&mut self, other: &Self) {
        let (end, count) = (self.end(), other.len());
        let entries = &other.as_bytes()[HEADER..other.end()];
        self.splice(end, 0, entries.len());
        self.bytes_mut()[end..end + entries.len()].copy_from_slice(entries);
        self.count_added(count);
    }

    /// Writes entries into room made for them.
    fn write(&mut self, mut at: usize, entries: &[Entry<'_>]) {
        let bytes = self.bytes_mut();
        for &entry in entries {
            at += encode(entry, &mut bytes[at..]);
        }
    }

    /// Makes the `old` bytes at `at` into `new` bytes of any content.
    fn splice(&mut self, at: usize, old: usize, new: usize) {
        let before = self.bytes_len();
        let after = before - old + new;
        assert!(after <= u32::MAX as usize, "a listpack counts in 32 bits");
        if new > old {
            // SAFETY: `before` is the block's length.
            unsafe { self.0.resize(before, after) };
            // SAFETY: and now `after` is.
            let bytes = unsafe { self.0.bytes_mut(after) };
            bytes.copy_within(at + old..before, at + new);
        } else if new < old {
            self.bytes_mut().copy_within(at + old.., at + new);
            // SAFETY: `before` is the block's length.
            unsafe { self.0.resize(before, after) };
        }
        // SAFETY: a listpack is never shorter than its header.
        unsafe { self.0.bytes_mut(4) }.copy_from_slice(&(after as u32).to_le_bytes());
    }
}

/// The position after the entry at `at`; `at` itself at the end.
#[inline]
fn skip(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        0x00..=0x7F => at + 2,
        short @ 0x80..=0xBF => at + 2 + usize::from(short & 0x3F),
        _ => match decode(&bytes[at..]) {
            Some((_, body)) => at + body + back_len_size(body),
            None => at,
        },
    }
}

fn prev(bytes: &[u8], at: usize) -> Option<usize> {
    if at <= HEADER {
        return None;
    }
    let (body, size) = decode_back_len(&bytes[..at])?;
    Some(at - size - body)
}

/// Checks bytes from outside: header, every entry and its back length, the
/// end. Returns the number of entries.
pub fn validate(bytes: &[u8]) -> Option<usize> {
    let total = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let counter = u16::from_le_bytes(bytes.get(4..HEADER)?.try_into().ok()?);
    if total as usize != bytes.len() || bytes.len() <= HEADER || bytes[bytes.len() - 1] != END {
        return None;
    }
    let (mut at, mut count) = (HEADER, 0);
    let end = bytes.len() - 1;
    while at < end {
        let (_, body) = decode(&bytes[at..end])?;
        let next = at + body + back_len_size(body);
        let entry = bytes.get(at..next).filter(|_| next <= end)?;
        if decode_back_len(&entry[body..]) != Some((body, next - at - body)) {
            return None;
        }
        at = next;
        count += 1;
    }
    (counter == COUNT_UNKNOWN || usize::from(counter) == count).then_some(count)
}

/// Entries between two positions, from either end.
#[derive(Clone, Default)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (entry, body) = decode(&self.bytes[self.front..])?;
        self.front += body + back_len_size(body);
        Some(entry)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = prev(self.bytes, self.back)?;
        decode(&self.bytes[self.back..]).map(|(entry, _)| entry)
    }
}
