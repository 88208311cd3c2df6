//! Records on their way past the page cache.
//!
//! Under `always` every group is synced at once, so the cache would only be
//! paid for: a page to be found for each 4 KB, a copy, and its writing back.
//! Records end anywhere, though, and such writes are of whole blocks. So the
//! block in which the last record ended is written again with the next one,
//! and filled up with zeros.

use std::io;

use crate::disk::{BLOCK_BYTES, BlockBuffer, DiskFile};

/// Most bytes handed over at a time.
const STAGED_BYTES: usize = 1 << 20;

/// Writes the records of one segment after another in whole blocks.
#[derive(Default)]
pub struct BlockWriter {
    /// Begins with the block in which the last record ended.
    staged: Option<BlockBuffer>,
    /// Position in the file after the last record, if it was written here.
    known_to: Option<u64>,
}

impl BlockWriter {
    /// The next bytes are of another file, or were preceded by others that
    /// were not written here.
    pub fn forget(&mut self) {
        self.known_to = None;
    }

    /// Writes `bytes` at `position`, and zeros behind them up to the end of the
    /// block. What lies before `position` must have been written already.
    pub fn write(&mut self, file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<()> {
        let staged = self
            .staged
            .get_or_insert_with(|| BlockBuffer::new(STAGED_BYTES))
            .as_mut_slice();
        let mut filled = (position % BLOCK_BYTES) as usize;
        let mut at = position - filled as u64;
        if self.known_to.take() != Some(position) {
            let count = file.read_at(&mut staged[..filled], at)?;
            staged[count..filled].fill(0);
        }
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(STAGED_BYTES - filled));
            staged[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            let end = filled.next_multiple_of(BLOCK_BYTES as usize);
            staged[filled..end].fill(0);
            file.write_blocks(&staged[..end], at)?;
            left = later;
            if !left.is_empty() {
                at += STAGED_BYTES as u64;
                filled = 0;
            }
        }
        let last = filled - filled % BLOCK_BYTES as usize;
        staged.copy_within(last..filled, 0);
        self.known_to = Some(position + bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash_tests::Random;
    use crate::disk::{Disk, RealDisk};

    /// Records of all sizes, the ways to write them mixed as a change of policy
    /// does; the file is then what plain writes would have made of it.
    #[test]
    fn what_is_written_in_blocks_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("file")).unwrap();
        let capacity = 8 << 20;
        file.allocate(capacity).unwrap();
        let mut random = Random(7);
        let mut writer = BlockWriter::default();
        let mut expected = b"header".to_vec();
        file.write_at(&expected, 0).unwrap();
        let sizes = [
            1,
            8,
            63,
            4095,
            4096,
            4097,
            70_000,
            STAGED_BYTES,
            STAGED_BYTES + 9,
        ];
        while expected.len() < 5 << 20 {
            let size = sizes[random.below(sizes.len() as u64) as usize];
            let record: Vec<u8> = (0..size).map(|_| random.below(255) as u8 + 1).collect();
            let position = expected.len() as u64;
            match random.below(4) {
                0 => {
                    writer.forget();
                    file.write_at(&record, position).unwrap();
                }
                _ => writer.write(&*file, &record, position).unwrap(),
            }
            expected.extend(record);
            if random.below(3) == 0 {
                file.sync_data().unwrap();
            }
            let mut tail = vec![1; 5000];
            let from = expected.len().saturating_sub(3000);
            let count = file.read_at(&mut tail, from as u64).unwrap();
            let written = expected.len() - from;
            assert_eq!(tail[..written], expected[from..]);
            assert!(tail[written..count].iter().all(|byte| *byte == 0));
        }
        assert_eq!(file.len().unwrap(), capacity);
        let mut all = vec![0; expected.len()];
        file.read_at(&mut all, 0).unwrap();
        assert!(all == expected);
    }
}
