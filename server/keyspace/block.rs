//! A heap block behind a thin pointer, whose length its owner knows.
//!
//! Listpacks, intsets and the elements of tables carry their own length in
//! their first bytes. Keeping it a second time, in a `Vec`, would cost sixteen
//! bytes in every entry of the keyspace. A [`Block`] keeps the pointer only;
//! the capacity follows from the length (see [`capacity`]), so that it need
//! not be stored either.
//!
//! All raw allocation of the value types is in this file.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

/// Alignment of every block, in bytes.
const ALIGN: usize = 8;

/// Bytes allocated for a block of `len` bytes: `len` rounded up to a size
/// class. The classes are those of the usual allocators (8, then multiples of
/// 16 up to 128, then four to a doubling), so that rounding up costs nothing,
/// and growth by small steps reallocates a logarithmic number of times.
pub(super) fn capacity(len: usize) -> usize {
    match len {
        0..=8 => 8,
        9..=128 => len.next_multiple_of(16),
        _ => len.next_multiple_of(len.next_power_of_two() / 8),
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(capacity(len), ALIGN).expect("a block is far smaller than isize::MAX")
}

/// An owned allocation. It has no `Drop`, because only the owner knows the
/// length: the owner calls [`Block::free`].
#[repr(transparent)]
pub(super) struct Block(NonNull<u8>);

// SAFETY: a Block owns its bytes, as a Box<[u8]> does.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates a block of `len` zero bytes.
    pub fn new(len: usize) -> Self {
        let layout = layout(len);
        // SAFETY: the layout's size is at least 8.
        let pointer = unsafe { alloc_zeroed(layout) };
        Self(NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(layout)))
    }

    /// The block's address, for those who store it elsewhere.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.0
    }

    /// Takes a block back from its address.
    ///
    /// # Safety
    /// `pointer` came from [`Block::as_ptr`] of a block that was forgotten and
    /// is not used by anyone else.
    pub unsafe fn from_ptr(pointer: NonNull<u8>) -> Self {
        Self(pointer)
    }

    /// The first `len` bytes.
    ///
    /// # Safety
    /// `len` is at most the length last given to `new` or `resize`.
    pub unsafe fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: all bytes up to that length are initialized and owned.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), len) }
    }

    /// The first `len` bytes, to be written.
    ///
    /// # Safety
    /// As for [`Block::bytes`].
    pub unsafe fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        // SAFETY: as for `bytes`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), len) }
    }

    /// Changes the length from `old` to `new`; added bytes are zero.
    ///
    /// # Safety
    /// `old` is the length last given to `new` or `resize`.
    pub unsafe fn resize(&mut self, old: usize, new: usize) {
        if capacity(old) != capacity(new) {
            let target = layout(new);
            // SAFETY: the block was allocated with `layout(old)`, and the new
            // size is not zero.
            let moved = unsafe { realloc(self.0.as_ptr(), layout(old), target.size()) };
            self.0 = NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(target));
        }
        if new > old {
            // SAFETY: the capacity is at least `new`.
            unsafe { self.0.as_ptr().add(old).write_bytes(0, new - old) };
        }
    }

    /// Frees the block.
    ///
    /// # Safety
    /// `len` is the length last given to `new` or `resize`, and nobody uses
    /// the block afterwards.
    pub unsafe fn free(&mut self, len: usize) {
        // SAFETY: the block was allocated with this layout.
        unsafe { dealloc(self.0.as_ptr(), layout(len)) };
    }
}
