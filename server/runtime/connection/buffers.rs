//! Buffers that the connections of a worker take in turn. What is between two
//! requests needs none, and those that were used last are still in the
//! processor's caches.

use std::cell::RefCell;

/// A buffer has room for so many bytes at first.
pub const READ_BYTES: usize = 16 << 10;
/// One that has grown beyond this is not kept.
pub const KEPT_BYTES: usize = 64 << 10;
/// So many are kept by a worker.
const MOST: usize = 128;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`READ_BYTES`] at least.
pub fn take() -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
}

/// Takes a buffer back, which may be any; what is in it is forgotten.
pub fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if !(READ_BYTES..=KEPT_BYTES).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_comes_back_is_empty_and_has_room() {
        for capacity in [0, 100, READ_BYTES, KEPT_BYTES, KEPT_BYTES + 1] {
            let mut buffer = Vec::with_capacity(capacity);
            buffer.extend_from_slice(&b"what was in it"[..capacity.min(14)]);
            give(&mut buffer);
            assert_eq!(buffer.capacity(), 0);
            let taken = take();
            assert!(taken.is_empty());
            assert!((READ_BYTES..=KEPT_BYTES).contains(&taken.capacity()));
        }
    }
}
