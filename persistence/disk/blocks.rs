//! Memory and arithmetic for [`DiskFile::write_blocks`](super::DiskFile::write_blocks).

/// What a write past the page cache is aligned to: position, length, address.
pub const BLOCK_BYTES: u64 = 4096;

/// Zeroed bytes at an address that is a multiple of [`BLOCK_BYTES`].
pub struct BlockBuffer {
    bytes: Vec<u8>,
    /// Where the aligned part begins.
    from: usize,
    len: usize,
}

impl BlockBuffer {
    /// A buffer of `len` bytes. Pages that are never touched take no memory.
    pub fn new(len: usize) -> BlockBuffer {
        let bytes = vec![0; len + BLOCK_BYTES as usize];
        let past = bytes.as_ptr().addr() % BLOCK_BYTES as usize;
        BlockBuffer {
            bytes,
            from: BLOCK_BYTES as usize - past,
            len,
        }
    }

    /// All of it.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + self.len]
    }
}
