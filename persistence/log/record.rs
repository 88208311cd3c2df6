//! The frame around one group commit.
//!
//! All numbers are little-endian; a record starts at a multiple of
//! [`ALIGNMENT`] bytes and is padded with zeros to the next one.
//!
//! | byte | field | |
//! |---|---|---|
//! | 0 | magic u32 | [`MAGIC`] |
//! | 4 | length u32 | payload bytes, without padding; 0 in a marker |
//! | 8 | segment u64 | id of the segment; another id means a recycled file's past |
//! | 16 | offset u64 | stream offset of the first payload byte |
//! | 24 | term u64 | |
//! | 32 | synced u64 | everything below this offset was durable when the record was written |
//! | 40 | nonce u32 | the segment's random number, so that a payload can't forge a record |
//! | 44 | previous u32 | `crc` of the record before, or of the segment header |
//! | 48 | flags u32 | 1: what was appended at once goes on in the next record |
//! | 52 | crc u32 | CRC32C of bytes 0–51 and the payload, continued from `previous` |
//! | 56 | payload | |
//!
//! `previous` is stored so that a record can be told genuine without the one
//! before it. `synced` tells a torn tail from corruption: a bad record below
//! the `synced` of a genuine later one was durable once, so it must have rotted;
//! a bad record above it may simply never have reached the disk, though later
//! sectors did.
//!
//! A run of records of which each goes on in the next holds one append, and
//! nothing of it counts before all of it is there: it is a command, or a whole
//! transaction.

/// First bytes of every record.
pub const MAGIC: u32 = 0x4352_4452; // "RDRC"
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 56;
/// Records start at multiples of this many bytes.
pub const ALIGNMENT: u64 = 8;

const CRC_AT: usize = 52;
const CONTINUES: u32 = 1;

/// A decoded record header; its CRC has not been checked by decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Payload bytes.
    pub length: u32,
    /// Segment the record was written to.
    pub segment: u64,
    /// Stream offset of the first payload byte.
    pub offset: u64,
    /// Term of the history.
    pub term: u64,
    /// Durable end of the log when the record was written.
    pub synced: u64,
    /// The segment's nonce.
    pub nonce: u32,
    /// CRC of the record before.
    pub previous: u32,
    /// What was appended at once goes on in the next record.
    pub continues: bool,
    /// CRC of this record, chained.
    pub crc: u32,
}

impl RecordHeader {
    /// Writes the header before the payload in `record`, which starts with
    /// [`RECORD_HEADER_BYTES`] of room. Sets `length` and returns the CRC.
    pub fn seal(mut self, record: &mut [u8]) -> u32 {
        let (header, payload) = record.split_at_mut(RECORD_HEADER_BYTES);
        self.length = u32::try_from(payload.len()).expect("groups are split below 4 GiB");
        header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&self.length.to_le_bytes());
        header[8..16].copy_from_slice(&self.segment.to_le_bytes());
        header[16..24].copy_from_slice(&self.offset.to_le_bytes());
        header[24..32].copy_from_slice(&self.term.to_le_bytes());
        header[32..40].copy_from_slice(&self.synced.to_le_bytes());
        header[40..44].copy_from_slice(&self.nonce.to_le_bytes());
        header[44..48].copy_from_slice(&self.previous.to_le_bytes());
        let flags = if self.continues { CONTINUES } else { 0 };
        header[48..52].copy_from_slice(&flags.to_le_bytes());
        let crc = crc32c::crc32c_append(self.previous, &header[..CRC_AT]);
        let crc = crc32c::crc32c_append(crc, payload);
        header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Decodes a header; `None` when too short or without the magic.
    pub fn decode(bytes: &[u8]) -> Option<RecordHeader> {
        if bytes.len() < RECORD_HEADER_BYTES || read_u32(bytes, 0) != MAGIC {
            return None;
        }
        Some(RecordHeader {
            length: read_u32(bytes, 4),
            segment: read_u64(bytes, 8),
            offset: read_u64(bytes, 16),
            term: read_u64(bytes, 24),
            synced: read_u64(bytes, 32),
            nonce: read_u32(bytes, 40),
            previous: read_u32(bytes, 44),
            continues: read_u32(bytes, 48) & CONTINUES != 0,
            crc: read_u32(bytes, CRC_AT),
        })
    }

    /// The CRC of the header's own bytes, to be continued over the payload.
    pub fn crc_of_header(bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(read_u32(bytes, 44), &bytes[..CRC_AT])
    }

    /// Bytes of the whole record in the file, padding included.
    pub fn span(&self) -> u64 {
        span(u64::from(self.length))
    }

    /// Stream offset after the payload; `None` if it overflows.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.length))
    }
}

/// Bytes in the file of a record with `payload` bytes.
pub fn span(payload: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload).next_multiple_of(ALIGNMENT)
}

/// Reads a little-endian u32; the caller has checked the length.
pub fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Reads a little-endian u64; the caller has checked the length.
pub fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RecordHeader {
        RecordHeader {
            length: 5,
            segment: 7,
            offset: 1 << 40,
            term: 3,
            synced: 99,
            nonce: 0xABCD,
            previous: 0x1234,
            continues: true,
            crc: 0,
        }
    }

    #[test]
    fn a_header_reads_back_and_every_bit_of_the_record_is_covered() {
        let mut record = vec![0; RECORD_HEADER_BYTES];
        record.extend_from_slice(b"hello");
        let crc = header().seal(&mut record);
        let decoded = RecordHeader::decode(&record).unwrap();
        assert_eq!(decoded, RecordHeader { crc, ..header() });
        assert_eq!(decoded.span(), 64);
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let Some(read) = RecordHeader::decode(&bad) else {
                continue;
            };
            let crc = RecordHeader::crc_of_header(&bad);
            let crc = crc32c::crc32c_append(crc, &bad[RECORD_HEADER_BYTES..]);
            assert_ne!(crc, read.crc, "bit {bit}");
        }
    }

    #[test]
    fn short_or_foreign_bytes_are_no_header() {
        assert_eq!(RecordHeader::decode(&[0; 10]), None);
        assert_eq!(RecordHeader::decode(&[0; 100]), None);
    }
}
