//! A segment file: its name, its header, and the handle that writer and
//! readers share.
//!
//! | byte | field | |
//! |---|---|---|
//! | 0 | magic | [`MAGIC`], the last byte is the format's version |
//! | 8 | id u64 | also the file's name, 16 hexadecimal digits |
//! | 16 | start u64 | stream offset of the first payload byte |
//! | 24 | term u64 | at creation |
//! | 32 | created u64 | Unix time in ms, for people only |
//! | 40 | synced u64 | as in a record |
//! | 48 | nonce u32 | random; repeated in every record |
//! | 52 | previous u32 | `crc` of the last record of the segment before |
//! | 56 | recycled u32 | 1 if the file held another segment before, else 0 |
//! | 60 | crc u32 | CRC32C of bytes 0–59; `previous` of the first record |
//!
//! A file under a segment's name whose header is not that segment's was
//! prepared ahead and never begun.

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{read_u32, read_u64};
use crate::disk::DiskFile;

const MAGIC: [u8; 8] = *b"RDBTLOG\x01";
/// Position of the first record.
pub const SEGMENT_HEADER_BYTES: usize = 64;
const CRC_AT: usize = 60;

const SEGMENT_SUFFIX: &str = ".log";
const SPARE_SUFFIX: &str = ".spare";

/// A decoded and verified segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Segment id.
    pub id: u64,
    /// Stream offset at which the segment starts.
    pub start: u64,
    /// Term at creation.
    pub term: u64,
    /// Creation, Unix time in ms.
    pub created_ms: u64,
    /// Durable end of the log when the segment was begun.
    pub synced: u64,
    /// Random number that all records repeat.
    pub nonce: u32,
    /// CRC of the last record of the segment before, 0 in the very first.
    pub previous: u32,
    /// The file held another segment before: what follows the last record may
    /// be that segment's.
    pub recycled: bool,
}

impl SegmentHeader {
    /// A header for a segment that begins now, with a fresh nonce.
    pub fn begin(id: u64, start: u64, term: u64, previous: u32) -> SegmentHeader {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        SegmentHeader {
            id,
            start,
            term,
            created_ms: now.map_or(0, |d| d.as_millis() as u64),
            synced: 0,
            nonce: random_u32(),
            previous,
            recycled: false,
        }
    }

    /// The header's bytes and its CRC, which seeds the record chain.
    pub fn encode(&self) -> ([u8; SEGMENT_HEADER_BYTES], u32) {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.start.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.term.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_ms.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.synced.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.previous.to_le_bytes());
        bytes[56..60].copy_from_slice(&u32::from(self.recycled).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Decodes and verifies; returns the header and its CRC.
    pub fn decode(bytes: &[u8]) -> Option<(SegmentHeader, u32)> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes[..8] != MAGIC {
            return None;
        }
        let crc = read_u32(bytes, CRC_AT);
        if crc32c::crc32c(&bytes[..CRC_AT]) != crc {
            return None;
        }
        let header = SegmentHeader {
            id: read_u64(bytes, 8),
            start: read_u64(bytes, 16),
            term: read_u64(bytes, 24),
            created_ms: read_u64(bytes, 32),
            synced: read_u64(bytes, 40),
            nonce: read_u32(bytes, 48),
            previous: read_u32(bytes, 52),
            recycled: read_u32(bytes, 56) == 1,
        };
        Some((header, crc))
    }
}

/// A segment in use.
pub struct Segment {
    /// Verified header.
    pub header: SegmentHeader,
    /// CRC of the header: what the first record is chained to.
    pub seed: u32,
    /// Open for reading and writing.
    pub file: Arc<dyn DiskFile>,
    /// Where the file was when it was opened, for messages.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub capacity: u64,
    /// Position in the file after the last record written; readers stop here.
    pub written_to: AtomicU64,
}

/// Path of segment `id`.
pub fn segment_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}{SEGMENT_SUFFIX}"))
}

/// Path of a file that waits to be recycled, once segment `id`.
pub fn spare_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}{SPARE_SUFFIX}"))
}

/// What a file name in the log directory stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum FileName {
    /// A segment with this id.
    Segment(u64),
    /// A spare file.
    Spare,
    /// Not the log's.
    Foreign,
}

/// Classifies a file name.
pub fn parse_name(name: &str) -> FileName {
    let id = |digits: &str| {
        let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| plain)
    };
    if let Some(id) = name.strip_suffix(SEGMENT_SUFFIX).and_then(id) {
        return FileName::Segment(id);
    }
    match name.strip_suffix(SPARE_SUFFIX).and_then(id) {
        Some(_) => FileName::Spare,
        None => FileName::Foreign,
    }
}

/// A number that nobody who sends us data can know.
fn random_u32() -> u32 {
    let state = std::collections::hash_map::RandomState::new();
    state.build_hasher().finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let header = SegmentHeader::begin(9, 1000, 4, 0xFEED);
        let (bytes, crc) = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some((header, crc)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn names_read_back() {
        let path = segment_path(Path::new("/d"), 0x1f);
        assert_eq!(path, Path::new("/d/000000000000001f.log"));
        assert_eq!(parse_name("000000000000001f.log"), FileName::Segment(0x1f));
        assert_eq!(parse_name("000000000000001f.spare"), FileName::Spare);
        for foreign in ["1f.log", "+00000000000001f.log", "appendonly.aof", ".log"] {
            assert_eq!(parse_name(foreign), FileName::Foreign, "{foreign}");
        }
    }
}
