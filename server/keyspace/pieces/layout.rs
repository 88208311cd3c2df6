//! Layouts, and which pieces of one have changed.
//!
//! | bits of a layout | meaning |
//! |---|---|
//! | 127…64 | a number that is given once |
//! | 63…8 | a hash of a constant: where a piece's elements are depends on the hash's key |
//! | 7…0 | n of the 2^n pieces of a table |
//!
//! Of a list's or a stream's only the first part matters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::keyspace::table::hash_bytes;

/// Tables are cut into at most 2^24 pieces.
const MOST_BITS: u32 = 24;

/// What the hash's key makes of a constant.
fn fingerprint() -> u64 {
    hash_bytes(b"the order of a table's elements") >> 8
}

/// A layout that no value has had yet.
pub fn new_layout(bits: u32) -> u128 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU64::new(fastrand::u64(..)));
    let number = next.fetch_add(1, Ordering::Relaxed);
    u128::from(number) << 64 | u128::from(fingerprint()) << 8 | u128::from(bits)
}

/// The pieces of a table that have changed since they were last collected.
pub struct Touched {
    layout: u128,
    bits: u32,
    words: Box<[u64]>,
}

impl Touched {
    fn of(layout: u128, bits: u32) -> Box<Touched> {
        let words = (1usize << bits).div_ceil(64);
        Box::new(Touched {
            layout,
            bits,
            words: vec![0; words].into(),
        })
    }

    /// For a table whose payload has so many bytes, about `piece_bytes` a
    /// piece. Nothing has changed yet.
    pub fn new(bytes: usize, piece_bytes: usize) -> Box<Touched> {
        let pieces = (bytes / piece_bytes).max(1).next_power_of_two();
        let bits = pieces.trailing_zeros().min(MOST_BITS);
        Touched::of(new_layout(bits), bits)
    }

    /// For a table that lies in the tree under a layout. None when that was
    /// made where elements have other places.
    pub fn read(layout: u128) -> Option<Box<Touched>> {
        let bits = (layout & 0xff) as u32;
        let ours = (layout as u64) >> 8 == fingerprint();
        (ours && bits <= MOST_BITS).then(|| Touched::of(layout, bits))
    }

    pub fn layout(&self) -> u128 {
        self.layout
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u64 {
        1 << self.bits
    }

    /// Notes that the element with this hash changed, came or went.
    #[inline]
    pub fn mark(&mut self, hash: u64) {
        // The position's upper bits, which are the hash's upper bits.
        let piece = hash.checked_shr(64 - self.bits).unwrap_or(0);
        self.words[(piece / 64) as usize] |= 1 << (piece % 64);
    }

    /// The positions of a piece: from, and up to but without.
    pub fn positions(&self, piece: u64) -> (u64, u64) {
        let width = 32 - self.bits;
        (piece << width, (piece + 1) << width)
    }

    /// The pieces that have changed, ascending; none has from now on.
    pub fn take(&mut self) -> Vec<u64> {
        let mut pieces = Vec::new();
        for (at, word) in (0u64..).zip(self.words.iter_mut()) {
            let mut left = std::mem::take(word);
            while left != 0 {
                pieces.push(at * 64 + u64::from(left.trailing_zeros()));
                left &= left - 1;
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_marks_the_piece_of_its_position() {
        for bytes in [0, 1000, 40_000, 1 << 24] {
            let mut touched = Touched::new(bytes, 1024);
            for hash in [0, 1, u64::MAX, 0x1234_5678_9abc_def0, 1 << 63] {
                touched.mark(hash);
                let taken = touched.take();
                assert_eq!(taken.len(), 1);
                let (from, end) = touched.positions(taken[0]);
                assert!((from..end).contains(&(hash >> 32)), "{bytes} {hash}");
                assert!(touched.take().is_empty());
            }
            let (_, end) = touched.positions(touched.pieces() - 1);
            assert_eq!(end, 1 << 32);
            let again = Touched::read(touched.layout()).unwrap();
            assert_eq!(again.pieces(), touched.pieces());
        }
        let other = Touched::new(1000, 1024).layout() ^ (1 << 20);
        assert!(Touched::read(other).is_none(), "hashed with another key");
    }
}
