//! Memory for [`DiskFile::write_blocks`](super::DiskFile::write_blocks).

use std::ptr::NonNull;

/// What a write past the page cache is aligned to: position, length, address.
pub const BLOCK_BYTES: u64 = 4096;

/// Bytes at an address that is a multiple of [`BLOCK_BYTES`], zero at first.
///
/// They come from the system rather than the allocator, whose count of what is
/// in use is held against `maxmemory`; pages never touched take no memory.
pub struct BlockBuffer {
    bytes: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is this buffer's alone and is reached through it only.
unsafe impl Send for BlockBuffer {}

impl BlockBuffer {
    /// A buffer of `len` bytes, at least one.
    ///
    /// # Panics
    ///
    /// Where the system has no memory left.
    pub fn new(len: usize) -> BlockBuffer {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping touches no other memory.
        let bytes = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert!(bytes != libc::MAP_FAILED, "no memory for {len} bytes");
        BlockBuffer {
            bytes: NonNull::new(bytes.cast()).expect("a mapping is not at zero"),
            len,
        }
    }

    /// All of it.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has `len` initialised bytes and lives as long as
        // `self`, which is borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has a slice of it.
        unsafe { libc::munmap(self.bytes.as_ptr().cast(), self.len) };
    }
}
