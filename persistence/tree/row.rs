//! The layout of keys, rows and chunks. No LMDB here, only bytes.
//!
//! | database | key | value |
//! |---|---|---|
//! | `keys` | `db u16`, `slot u16`, Redis key (at most [`MAX_SHORT_KEY`] bytes) | row; body = payload |
//! | `long` | `db u16`, `slot u16`, SHA-256 of the Redis key | row; body = `key length u32`, Redis key, payload |
//! | `chunks` | `value id u64`, `chunk number u32` | `crc u32`, at most [`CHUNK_BYTES`] of a body |
//! | `chunks` | `value id u64`, piece (`section u8`, `number u128`), `part u32` | `crc u32`, at most [`CHUNK_BYTES`] of a piece |
//!
//! A row is `flags u8`, `crc u32`, `expire i64` if [`EXPIRES`], and then the body itself, or
//! `value id u64`, `body length u64` if [`CHUNKED`], or if [`PIECED`] `value id u64`,
//! `length u64`, `sum u64` and `layout u128` of all pieces, and the payload's beginning; the
//! pieces in the order of their keys are the rest of it (see `pieces.rs`). All integers in keys are big-endian, so that
//! a slot is one range; those in values are little-endian. A checksum is CRC-32C over the LMDB key
//! and everything in the value except itself, so that a value under the wrong key is noticed.

use sha2::{Digest, Sha256};

use super::TreeError;

/// The longest Redis key that is part of the LMDB key, in bytes (LMDB keys end at 511).
pub const MAX_SHORT_KEY: usize = 480;
/// Bytes of a body in one chunk: two chunks fill a 4 KB page.
pub const CHUNK_BYTES: usize = 2000;
/// The largest sum of key and value that LMDB keeps inside a 4 KB page; beyond it, it would need
/// pages of their own, contiguous ones, which are slow to find in a fragmented file.
const MAX_NODE_BYTES: usize = 2030;
/// Row flag: an expiry time follows the checksum.
const EXPIRES: u8 = 1;
/// Row flag: the body lies in the chunks database.
const CHUNKED: u8 = 2;
/// Row flag: what follows the beginning of the payload lies in pieces in the chunks database.
const PIECED: u8 = 4;
/// Bytes of [`PiecedBody`] in a row.
const PIECED_BYTES: usize = 40;
const PREFIX_BYTES: usize = 4;
const CRC_AT: usize = 1;
const HEAD_BYTES: usize = 5;

/// The LMDB key of a row.
pub struct RowKey {
    bytes: [u8; PREFIX_BYTES + MAX_SHORT_KEY],
    len: usize,
    /// Whether the row belongs in the `long` database.
    pub long: bool,
}

impl RowKey {
    /// The key of `key` in hash slot `slot` of database `db`.
    pub fn new(db: u32, slot: u16, key: &[u8]) -> Result<RowKey, TreeError> {
        let prefix = slot_prefix(db, slot)?;
        let mut bytes = [0; PREFIX_BYTES + MAX_SHORT_KEY];
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
        let long = key.len() > MAX_SHORT_KEY;
        let hash;
        let tail = if long {
            hash = Sha256::digest(key);
            &hash[..]
        } else {
            key
        };
        bytes[PREFIX_BYTES..PREFIX_BYTES + tail.len()].copy_from_slice(tail);
        Ok(RowKey {
            bytes,
            len: PREFIX_BYTES + tail.len(),
            long,
        })
    }

    /// The bytes LMDB sees.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What all rows of a hash slot begin with.
pub fn slot_prefix(db: u32, slot: u16) -> Result<[u8; 4], TreeError> {
    let [a, b] = db_prefix(db)?;
    let [c, d] = slot.to_be_bytes();
    Ok([a, b, c, d])
}

/// What all rows of a database begin with.
pub fn db_prefix(db: u32) -> Result<[u8; 2], TreeError> {
    let db = u16::try_from(db).map_err(|_| TreeError::DatabaseIndex(db))?;
    Ok(db.to_be_bytes())
}

/// The first key after all that begin with `prefix`; `None` if there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The key of one chunk of a value.
pub fn chunk_key(value_id: u64, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&value_id.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Where a row's body is.
pub enum Body<'a> {
    /// In the row.
    Inline(&'a [u8]),
    /// In the chunks database.
    Chunked {
        /// First part of the chunks' keys.
        value_id: u64,
        /// Bytes in all chunks together.
        len: u64,
    },
    /// Its beginning, and the rest in pieces.
    Pieced(PiecedBody, &'a [u8]),
}

impl Body<'_> {
    /// The layout of a value in pieces.
    pub fn layout(&self) -> Option<u128> {
        match self {
            Body::Pieced(pieced, _) => Some(pieced.layout),
            _ => None,
        }
    }
}

/// What the row of a value in pieces says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PiecedBody {
    /// First part of the pieces' keys.
    pub value_id: u64,
    /// How the value is cut, and since when; its writer's affair.
    pub layout: u128,
    /// Bytes in all pieces together.
    pub len: u64,
    /// The wrapping sum of the checksums of all their parts: it tells of a part that is gone or
    /// is not the last that was written.
    pub sum: u64,
}

impl PiecedBody {
    fn put(&self, out: &mut Vec<u8>) {
        for field in [self.value_id, self.len, self.sum] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.layout.to_le_bytes());
    }

    fn split(bytes: &[u8]) -> Option<(PiecedBody, &[u8])> {
        let (value_id, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let (layout, head) = rest.split_first_chunk()?;
        let pieced = PiecedBody {
            value_id: u64::from_le_bytes(*value_id),
            layout: u128::from_le_bytes(*layout),
            len: u64::from_le_bytes(*len),
            sum: u64::from_le_bytes(*sum),
        };
        Some((pieced, head))
    }
}

/// A decoded row.
pub struct Row<'a> {
    /// Absolute expiry, in milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
    /// The body or where it is.
    pub body: Body<'a>,
}

/// Whether a body of `body_len` bytes is kept in the row itself.
pub fn fits_inline(row_key: &[u8], expires: bool, body_len: usize) -> bool {
    let expiry = if expires { 8 } else { 0 };
    row_key.len() + HEAD_BYTES + expiry + body_len <= MAX_NODE_BYTES
}

/// Writes a row to `out`, which is cleared first; an inline body may come in several parts.
pub fn encode_row(out: &mut Vec<u8>, row_key: &[u8], expire_at_ms: Option<i64>, body: RowBody<'_>) {
    out.clear();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    if let Some(at) = expire_at_ms {
        out[0] |= EXPIRES;
        out.extend_from_slice(&at.to_le_bytes());
    }
    match body {
        RowBody::Inline(parts) => parts.iter().for_each(|part| out.extend_from_slice(part)),
        RowBody::Chunked { value_id, len } => {
            out[0] |= CHUNKED;
            out.extend_from_slice(&value_id.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
        RowBody::Pieced(pieced, head) => {
            out[0] |= PIECED;
            pieced.put(out);
            out.extend_from_slice(head);
        }
    }
    let crc = row_crc(row_key, out);
    out[CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// The body of a row to be written.
pub enum RowBody<'a> {
    /// Parts to be put into the row one after the other.
    Inline(&'a [&'a [u8]]),
    /// As in [`Body::Chunked`].
    Chunked {
        /// First part of the chunks' keys.
        value_id: u64,
        /// Bytes in all chunks together.
        len: u64,
    },
    /// As in [`Body::Pieced`].
    Pieced(PiecedBody, &'a [u8]),
}

/// Whether a beginning of `head_len` bytes fits in the row of a value in pieces.
pub fn head_fits(row_key: &[u8], head_len: usize) -> bool {
    fits_inline(row_key, true, PIECED_BYTES + head_len)
}

fn row_crc(row_key: &[u8], row: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(row_key), &row[..CRC_AT]);
    crc32c::crc32c_append(crc, &row[HEAD_BYTES..])
}

/// Reads and verifies a row.
pub fn decode_row<'a>(row_key: &[u8], row: &'a [u8]) -> Result<Row<'a>, TreeError> {
    let corrupt = |what| Err(corrupt_row(row_key, what));
    if row.len() < HEAD_BYTES {
        return corrupt("row shorter than its header");
    }
    let (head, mut rest) = row.split_at(HEAD_BYTES);
    if row_crc(row_key, row).to_le_bytes() != head[CRC_AT..] {
        return corrupt("checksum of the row does not match");
    }
    let mut expire_at_ms = None;
    if head[0] & EXPIRES != 0 {
        let Some((at, tail)) = rest.split_first_chunk() else {
            return corrupt("row ends inside its expiry");
        };
        expire_at_ms = Some(i64::from_le_bytes(*at));
        rest = tail;
    }
    if head[0] & PIECED != 0 {
        let Some((pieced, head)) = PiecedBody::split(rest) else {
            return corrupt("row ends before its pieces");
        };
        let body = Body::Pieced(pieced, head);
        return Ok(Row { expire_at_ms, body });
    }
    if head[0] & CHUNKED == 0 {
        let body = Body::Inline(rest);
        return Ok(Row { expire_at_ms, body });
    }
    let Some((id, len)) = rest.split_first_chunk() else {
        return corrupt("row ends inside its value id");
    };
    let Ok(len) = <[u8; 8]>::try_from(len) else {
        return corrupt("row ends inside its length");
    };
    let body = Body::Chunked {
        value_id: u64::from_le_bytes(*id),
        len: u64::from_le_bytes(len),
    };
    Ok(Row { expire_at_ms, body })
}

/// The value id of a row whose body is chunked or in pieces. An unreadable row has none: better to leak its
/// chunks than to delete those of another.
pub fn value_id_of(row_key: &[u8], row: &[u8]) -> Option<u64> {
    if row.first()? & (CHUNKED | PIECED) == 0 {
        return None;
    }
    match decode_row(row_key, row).ok()?.body {
        Body::Chunked { value_id, .. } => Some(value_id),
        Body::Pieced(pieced, _) => Some(pieced.value_id),
        Body::Inline(_) => None,
    }
}

/// Writes one chunk's value to `out`, which is cleared first.
pub fn encode_chunk(out: &mut Vec<u8>, chunk_key: &[u8], data: &[u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(chunk_key), data);
    out.clear();
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(data);
}

/// Verifies a chunk; gives its data, or `None` if the checksum does not match.
pub fn decode_chunk<'a>(chunk_key: &[u8], chunk: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, data) = chunk.split_first_chunk()?;
    let found = crc32c::crc32c_append(crc32c::crc32c(chunk_key), data);
    (found == u32::from_le_bytes(*crc)).then_some(data)
}

/// Splits the body of a row in the `long` database into Redis key and payload.
pub fn split_long_body<'a>(
    row_key: &[u8],
    body: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), TreeError> {
    body.split_first_chunk()
        .and_then(|(len, rest)| rest.split_at_checked(u32::from_le_bytes(*len) as usize))
        .ok_or_else(|| corrupt_row(row_key, "long key does not fit its row"))
}

/// The error for the row with LMDB key `row_key`.
pub fn corrupt_row(row_key: &[u8], what: &'static str) -> TreeError {
    let at = |i: usize| row_key.get(i).copied().unwrap_or(0);
    TreeError::Corrupt {
        db: u16::from_be_bytes([at(0), at(1)]),
        slot: u16::from_be_bytes([at(2), at(3)]),
        key: row_key.get(PREFIX_BYTES..).unwrap_or_default().to_vec(),
        what,
    }
}
