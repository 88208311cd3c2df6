//! Buffered reading of records from a segment file, for recovery and readers.

use std::io;

use super::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::disk::DiskFile;

/// Bytes read at a time.
pub const WINDOW_BYTES: u64 = 64 << 10;

/// A part of one file, held in memory.
#[derive(Default)]
pub struct Window {
    bytes: Vec<u8>,
    position: u64,
}

impl Window {
    /// An empty one that reads into `buffer`, whose content is dropped.
    pub fn reading_into(mut buffer: Vec<u8>) -> Window {
        buffer.clear();
        Window {
            bytes: buffer,
            position: 0,
        }
    }

    /// Forgets what was read, before turning to another file.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The `length` bytes at `position`, fewer where `limit` or the file ends.
    /// Nothing at or beyond `limit` is ever read or kept.
    pub fn read(
        &mut self,
        file: &dyn DiskFile,
        position: u64,
        length: u64,
        limit: u64,
    ) -> io::Result<&[u8]> {
        let length = length.min(limit.saturating_sub(position));
        let held_to = self.position + self.bytes.len() as u64;
        if position < self.position || position + length > held_to {
            let wanted = length.max(WINDOW_BYTES).min(limit.saturating_sub(position));
            self.bytes.resize(wanted as usize, 0);
            self.position = position;
            let count = file.read_at(&mut self.bytes, position);
            self.bytes.truncate(*count.as_ref().unwrap_or(&0));
            count?;
        }
        let from = ((position - self.position) as usize).min(self.bytes.len());
        let to = (from + length as usize).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }

    /// The record at `position` if it lies whole before `limit` and its CRC
    /// holds. Neither its chain nor its offset is checked.
    pub fn record(
        &mut self,
        file: &dyn DiskFile,
        position: u64,
        limit: u64,
    ) -> io::Result<Option<RecordHeader>> {
        let bytes = self.read(file, position, RECORD_HEADER_BYTES as u64, limit)?;
        let Some(header) = RecordHeader::decode(bytes) else {
            return Ok(None);
        };
        if header.end().is_none() || limit.saturating_sub(position) < header.span() {
            return Ok(None);
        }
        let mut crc = RecordHeader::crc_of_header(bytes);
        let mut at = position + RECORD_HEADER_BYTES as u64;
        let end = at + u64::from(header.length);
        while at < end {
            let part = self.read(file, at, (end - at).min(WINDOW_BYTES), limit)?;
            if part.is_empty() {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, part);
            at += part.len() as u64;
        }
        Ok((crc == header.crc).then_some(header))
    }
}
