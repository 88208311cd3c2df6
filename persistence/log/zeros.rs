//! Zeros in files: which parts of them are blank, and making them so.

use std::io;
use std::ops::Range;

use crate::disk::{BLOCK_BYTES, BlockBuffer, DiskFile};

/// Bytes zeroed at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The parts of a file that may have been written, ascending.
pub fn written_ranges(file: &dyn DiskFile) -> io::Result<Vec<Range<u64>>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while let Some(range) = file.next_data(at)? {
        at = range.end;
        ranges.push(range);
    }
    Ok(ranges)
}

/// Whether all bytes are zero; as quick as memory, even without optimisation.
pub fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Writes zeros to a new file of `capacity` bytes, past the page cache: in it
/// they would only displace what is of use.
pub fn fill(file: &dyn DiskFile, capacity: u64) -> io::Result<()> {
    let mut zeros = BlockBuffer::new(CHUNK_BYTES as usize);
    let zeros = &*zeros.as_mut_slice();
    let whole = capacity - capacity % BLOCK_BYTES;
    let mut at = 0;
    while at < whole {
        let count = (whole - at).min(CHUNK_BYTES);
        file.write_blocks(&zeros[..count as usize], at)?;
        at += count;
    }
    zero(file, whole, capacity)
}

/// Zeroes a torn tail, so that nothing of it can come back.
pub fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES.min(to - from) as usize];
    let mut at = from;
    while at < to {
        let count = (to - at).min(zeros.len() as u64);
        file.write_at(&zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
