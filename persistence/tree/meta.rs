//! What is stored beside the rows, in the same transaction: the applied offset above all.
//!
//! Two rows in the `meta` database: `state` (rewritten by each commit) and `extra` (rewritten when
//! it changes). Each is a CRC-32C over the rest, then little-endian integers and strings with a
//! u32 length.

use super::TreeError;

/// The version of the format that this build writes. 1 knew no values in pieces.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest version that it reads.
const OLDEST_VERSION: u32 = 1;
/// Key of the row with everything but [`Meta::extra`].
pub const STATE_KEY: &[u8] = b"state";
/// Key of the row with [`Meta::extra`].
pub const EXTRA_KEY: &[u8] = b"extra";

/// The state of the log as of which the tree's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The rows hold exactly the effects of the log below this offset.
    pub offset: u64,
    /// The term of the last record applied.
    pub term: u64,
    /// The database that the stream had selected at `offset`.
    pub selected_db: u32,
    /// The replication id of the history that `offset` belongs to.
    pub replication_id: String,
    /// The replication id before the last promotion; empty if none.
    pub replication_id2: String,
    /// The offset up to which `replication_id2` is valid; -1 if none.
    pub second_offset: i64,
    /// Rows per database, without empty ones. Kept by the tree: what is passed to a commit is
    /// ignored.
    pub key_counts: Vec<(u32, u64)>,
    /// Named blobs that belong to the same point in the log (function libraries, …).
    pub extra: Vec<(String, Vec<u8>)>,
    /// [`FORMAT_VERSION`]; what is passed to a commit is ignored.
    pub format_version: u32,
}

impl Default for Meta {
    fn default() -> Meta {
        Meta {
            offset: 0,
            term: 0,
            selected_db: 0,
            replication_id: String::new(),
            replication_id2: String::new(),
            second_offset: -1,
            key_counts: Vec::new(),
            extra: Vec::new(),
            format_version: FORMAT_VERSION,
        }
    }
}

/// The `state` row: `meta` with its counts replaced by `key_counts`, and the tree's next value id.
pub fn encode_state(
    meta: &Meta,
    key_counts: impl ExactSizeIterator<Item = (u32, u64)>,
    next_value_id: u64,
) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_u32(&mut out, FORMAT_VERSION);
    put_u64(&mut out, next_value_id);
    put_u64(&mut out, meta.offset);
    put_u64(&mut out, meta.term);
    put_u32(&mut out, meta.selected_db);
    put_bytes(&mut out, meta.replication_id.as_bytes());
    put_bytes(&mut out, meta.replication_id2.as_bytes());
    put_u64(&mut out, meta.second_offset as u64);
    put_u32(&mut out, key_counts.len() as u32);
    for (db, count) in key_counts {
        put_u32(&mut out, db);
        put_u64(&mut out, count);
    }
    seal(out)
}

/// The `extra` row.
pub fn encode_extra(extra: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_u32(&mut out, extra.len() as u32);
    for (name, value) in extra {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value);
    }
    seal(out)
}

/// Reads both rows; gives the metadata and the next value id.
pub fn decode(state: &[u8], extra: Option<&[u8]>) -> Result<(Meta, u64), TreeError> {
    let mut input = Reader::unseal(state)?;
    let format_version = input.u32()?;
    if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&format_version) {
        return Err(TreeError::FormatVersion {
            found: format_version,
            known: FORMAT_VERSION,
        });
    }
    let next_value_id = input.u64()?;
    let mut meta = Meta {
        offset: input.u64()?,
        term: input.u64()?,
        selected_db: input.u32()?,
        replication_id: input.string()?,
        replication_id2: input.string()?,
        second_offset: input.u64()? as i64,
        key_counts: Vec::new(),
        extra: Vec::new(),
        format_version,
    };
    for _ in 0..input.u32()? {
        meta.key_counts.push((input.u32()?, input.u64()?));
    }
    if let Some(extra) = extra {
        let mut input = Reader::unseal(extra)?;
        for _ in 0..input.u32()? {
            meta.extra.push((input.string()?, input.bytes()?.to_vec()));
        }
    }
    Ok((meta, next_value_id))
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

fn seal(mut row: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&row[4..]);
    row[..4].copy_from_slice(&crc.to_le_bytes());
    row
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn unseal(row: &'a [u8]) -> Result<Reader<'a>, TreeError> {
        match row.split_first_chunk() {
            Some((crc, rest)) if crc32c::crc32c(rest).to_le_bytes() == *crc => Ok(Reader(rest)),
            _ => Err(TreeError::CorruptMeta("checksum does not match")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TreeError> {
        let (head, tail) = self
            .0
            .split_first_chunk()
            .ok_or(TreeError::CorruptMeta("row ends early"))?;
        self.0 = tail;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, TreeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, TreeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], TreeError> {
        let len = self.u32()? as usize;
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(TreeError::CorruptMeta("row ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn string(&mut self) -> Result<String, TreeError> {
        String::from_utf8(self.bytes()?.to_vec())
            .map_err(|_| TreeError::CorruptMeta("string is not UTF-8"))
    }
}
