//! A sorted array of integers, as wide as the widest of them needs.
//!
//! The bytes are exactly Redis's intset:
//!
//! ```text
//! <width in bytes: 2, 4 or 8, u32 LE> <integers, u32 LE> <integer, LE> …
//! ```

use super::block::{Block, capacity};

const HEADER: usize = 8;

/// An owned intset; one pointer.
pub struct IntSet(Block);

impl Drop for IntSet {
    fn drop(&mut self) {
        let len = self.bytes_len();
        // SAFETY: the header holds the block's length.
        unsafe { self.0.free(len) };
    }
}

impl Default for IntSet {
    fn default() -> Self {
        Self::new()
    }
}

impl IntSet {
    pub fn new() -> Self {
        Self::copy_of(&[2, 0, 0, 0, 0, 0, 0, 0])
    }

    /// A copy of an intset from outside; `None` unless it is well-formed, in
    /// ascending order, and without repetitions.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let width = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let count = u32::from_le_bytes(bytes.get(4..HEADER)?.try_into().ok()?) as usize;
        let expected = count.checked_mul(width)?.checked_add(HEADER)?;
        if !matches!(width, 2 | 4 | 8) || bytes.len() != expected {
            return None;
        }
        let set = Self::copy_of(bytes);
        set.iter().is_sorted_by(|a, b| a < b).then_some(set)
    }

    fn copy_of(bytes: &[u8]) -> Self {
        let mut block = Block::new(bytes.len());
        // SAFETY: that is the length it was made with.
        unsafe { block.bytes_mut(bytes.len()) }.copy_from_slice(bytes);
        Self(block)
    }

    fn header(&self) -> &[u8] {
        // SAFETY: an intset is never shorter than its header.
        unsafe { self.0.bytes(HEADER) }
    }

    /// Bytes of each integer.
    fn width(&self) -> usize {
        usize::from(self.header()[0])
    }

    /// Integers in the set.
    pub fn len(&self) -> usize {
        let header = self.header();
        u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes_len(&self) -> usize {
        HEADER + self.len() * self.width()
    }

    /// The whole intset.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the header holds the block's length.
        unsafe { self.0.bytes(self.bytes_len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.bytes_len();
        // SAFETY: the header holds the block's length.
        unsafe { self.0.bytes_mut(len) }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        capacity(self.bytes_len())
    }

    /// The integer at `index` of the ascending order.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| read(self.as_bytes(), self.width(), index))
    }

    /// All integers, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        let (bytes, width) = (self.as_bytes(), self.width());
        (0..self.len()).map(move |index| read(bytes, width, index))
    }

    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The index of `value`, or the one at which it belongs.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (bytes, width) = (self.as_bytes(), self.width());
        let (mut low, mut high) = (0, self.len());
        // Integers often come in ascending order.
        if high > 0 && read(bytes, width, high - 1) < value {
            return Err(high);
        }
        while low < high {
            let middle = (low + high) / 2;
            match read(bytes, width, middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Adds an integer; whether it was new.
    pub fn add(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else {
            return false;
        };
        let width = width_of(value);
        if width > self.width() {
            self.widen(width);
        }
        let (width, before) = (self.width(), self.bytes_len());
        let at = HEADER + index * width;
        // SAFETY: `before` is the block's length.
        unsafe { self.0.resize(before, before + width) };
        self.set_len(self.len() + 1);
        let bytes = self.bytes_mut();
        bytes.copy_within(at..before, at + width);
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        true
    }

    /// Removes an integer; whether it was there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else {
            return false;
        };
        let (width, before) = (self.width(), self.bytes_len());
        let at = HEADER + index * width;
        self.bytes_mut().copy_within(at + width.., at);
        self.set_len(self.len() - 1);
        // SAFETY: `before` was the block's length.
        unsafe { self.0.resize(before, before - width) };
        true
    }

    /// Rewrites the set with integers of `width` bytes.
    fn widen(&mut self, width: usize) {
        let values: Vec<i64> = self.iter().collect();
        let before = self.bytes_len();
        // SAFETY: `before` is the block's length.
        unsafe { self.0.resize(before, HEADER + values.len() * width) };
        // SAFETY: an intset is never shorter than its header.
        let header = unsafe { self.0.bytes_mut(HEADER) };
        header[0] = width as u8;
        let places = self.bytes_mut()[HEADER..].chunks_exact_mut(width);
        for (place, value) in places.zip(values) {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }

    fn set_len(&mut self, len: usize) {
        // SAFETY: an intset is never shorter than its header.
        let header = unsafe { self.0.bytes_mut(HEADER) };
        header[4..].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn read(bytes: &[u8], width: usize, index: usize) -> i64 {
    let at = HEADER + index * width;
    let mut little = [0; 8];
    little[..width].copy_from_slice(&bytes[at..at + width]);
    let unused = 64 - 8 * width as u32;
    i64::from_le_bytes(little) << unused >> unused
}

#[cfg(test)]
mod tests {
    use super::IntSet;
    use std::collections::BTreeSet;

    #[test]
    fn any_sequence_of_changes_leaves_what_a_tree_would_hold() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
            for step in 0..200 {
                let value = match rng.u8(0..20) {
                    0 if step > 100 => rng.i64(..),
                    1 if step > 50 => i64::from(rng.i32(..)),
                    _ => rng.i64(-50..50),
                };
                if rng.u8(0..3) > 0 {
                    assert_eq!(set.add(value), model.insert(value));
                } else {
                    assert_eq!(set.remove(value), model.remove(&value));
                }
                assert!(set.iter().eq(model.iter().copied()));
                assert_eq!(set.contains(value), model.contains(&value));
                let copy = IntSet::from_bytes(set.as_bytes()).expect("well-formed");
                assert_eq!(copy.as_bytes(), set.as_bytes());
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let good = [2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0];
        assert!(IntSet::from_bytes(&good).is_some());
        for len in 0..good.len() {
            assert!(IntSet::from_bytes(&good[..len]).is_none());
        }
        let mut unsorted = good;
        unsorted[8] = 2;
        assert!(IntSet::from_bytes(&unsorted).is_none());
        let mut huge = good;
        huge[4..8].fill(0xFF);
        assert!(IntSet::from_bytes(&huge).is_none());
    }
}
