//! Large values that are rewritten in part.
//!
//! The payload of such a value is its beginning, which lies in its row, and then pieces in the
//! order of their keys, each a few rows in the `chunks` database. Who reads gets the payload as if
//! it had been written as a whole. Who writes gives all pieces once, under a *layout*, a number of
//! his choice that says how he cuts the value; and from then on, under the same layout, the pieces
//! that have changed. The row knows the length and the sum of the checksums of all pieces, so that
//! a part that is gone, or is an old one, is noticed by whoever reads.

use heed::{PutFlags, RwTxn};
use std::ops::Bound;

use super::batch::Batch;
use super::row::{self, Body, CHUNK_BYTES, PiecedBody, RowBody, RowKey};
use super::snapshot::Snapshot;
use super::{Table, TreeError};

/// The place of a piece among the others of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceKey {
    /// The part of the payload that it belongs to.
    pub section: u8,
    /// Its place there.
    pub number: u128,
}

/// A piece that was made or changed, or that is gone.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Its place.
    pub key: PieceKey,
    /// What of the payload it holds; nothing when it is gone.
    pub bytes: &'a [u8],
}

/// A value in pieces.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a> {
    /// How the value is cut.
    pub layout: u128,
    /// Whether `changed` is all there is. Else the tree has the value under the same layout, and
    /// keeps what is not given.
    pub anew: bool,
    /// The payload's beginning: a few bytes.
    pub head: &'a [u8],
    /// Pieces, ascending by key.
    pub changed: &'a [Piece<'a>],
}

/// Bytes of the key of a part: value id, piece, part.
const PART_KEY: usize = 8 + PIECE_KEY + 4;
/// Bytes of a piece's key.
const PIECE_KEY: usize = 17;

fn part_key(value_id: u64, piece: PieceKey, part: u32) -> [u8; PART_KEY] {
    let mut key = [0; PART_KEY];
    key[..8].copy_from_slice(&value_id.to_be_bytes());
    key[8] = piece.section;
    key[9..25].copy_from_slice(&piece.number.to_be_bytes());
    key[25..].copy_from_slice(&part.to_be_bytes());
    key
}

/// What is stored of a part of a piece.
struct OldPart {
    sum: u64,
    len: u64,
    /// It is what it is to be.
    same: bool,
}

fn checksum(chunk: &[u8]) -> u64 {
    let crc = chunk.first_chunk().copied().unwrap_or_default();
    u64::from(u32::from_le_bytes(crc))
}

impl<'t> Batch<'t> {
    /// Whether a value under this key can be kept in pieces, with `head_len` bytes of beginning.
    pub fn takes_pieces(key: &[u8], head_len: usize) -> bool {
        RowKey::new(0, 0, key)
            .is_ok_and(|row_key| !row_key.long && row::head_fits(row_key.as_bytes(), head_len))
    }

    /// Writes a value in pieces, or those that have changed of it; gives whether the key is new.
    pub fn put_pieces(
        &mut self,
        db: u32,
        slot: u16,
        key: &[u8],
        expire_at_ms: Option<i64>,
        value: Pieces<'_>,
    ) -> Result<bool, TreeError> {
        self.guarded(|batch, txn| {
            let misfit = |what| TreeError::Pieces {
                key: key.to_vec(),
                what,
            };
            if !Batch::takes_pieces(key, value.head.len()) {
                return Err(misfit("the key or the beginning is too long"));
            }
            if !value.changed.is_sorted_by(|one, next| one.key < next.key) {
                return Err(misfit("they are not in order"));
            }
            let row_key = RowKey::new(db, slot, key)?;
            let table = batch.table(&row_key);
            let row_key = row_key.as_bytes();
            let mut body = match value.anew {
                true => batch.new_body(value.layout),
                false => match stored_body(txn, table, row_key)? {
                    Some(body) if body.layout == value.layout => body,
                    Some(_) => return Err(misfit("the layout is another")),
                    None => return Err(misfit("it has no pieces of it")),
                },
            };
            for piece in value.changed {
                match value.anew {
                    true => batch.append_piece(txn, &mut body, piece)?,
                    false => batch.replace_piece(txn, row_key, &mut body, piece)?,
                }
            }
            let pieced = RowBody::Pieced(body, value.head);
            row::encode_row(&mut batch.scratch.row, row_key, expire_at_ms, pieced);
            if value.anew {
                return batch.put_row(txn, table, db, row_key);
            }
            batch.bytes_put += (row_key.len() + batch.scratch.row.len()) as u64;
            table.put(txn, row_key, &batch.scratch.row)?;
            Ok(false)
        })
    }

    fn new_body(&mut self, layout: u128) -> PiecedBody {
        let value_id = self.next_value_id;
        self.next_value_id += 1;
        PiecedBody {
            value_id,
            layout,
            len: 0,
            sum: 0,
        }
    }

    fn append_piece(
        &mut self,
        txn: &mut RwTxn<'t>,
        body: &mut PiecedBody,
        piece: &Piece<'_>,
    ) -> Result<(), TreeError> {
        for (part, data) in (0..).zip(piece.bytes.chunks(CHUNK_BYTES)) {
            let key = part_key(body.value_id, piece.key, part);
            // It comes after all others, as does the value's id.
            self.put_part(txn, body, &key, data, PutFlags::APPEND)?;
        }
        Ok(())
    }

    fn put_part(
        &mut self,
        txn: &mut RwTxn<'t>,
        body: &mut PiecedBody,
        key: &[u8],
        data: &[u8],
        flags: PutFlags,
    ) -> Result<(), TreeError> {
        let chunk = &mut self.scratch.chunk;
        row::encode_chunk(chunk, key, data);
        let chunks = self.store.tables.chunks;
        chunks.put_with_flags(txn, flags, key, chunk)?;
        body.len += data.len() as u64;
        body.sum = body.sum.wrapping_add(checksum(chunk));
        self.bytes_put += (key.len() + chunk.len()) as u64;
        Ok(())
    }

    /// Puts the parts of a piece that differ from those that are stored, and deletes those that
    /// are too many.
    fn replace_piece(
        &mut self,
        txn: &mut RwTxn<'t>,
        row_key: &[u8],
        body: &mut PiecedBody,
        piece: &Piece<'_>,
    ) -> Result<(), TreeError> {
        let chunks = self.store.tables.chunks;
        let old = old_parts(txn, chunks, row_key, body.value_id, piece)?;
        let mut parts = piece.bytes.chunks(CHUNK_BYTES);
        for number in 0.. {
            let (old, new) = (old.get(number), parts.next());
            if old.is_none() && new.is_none() {
                break;
            }
            if old.is_some_and(|old| old.same) {
                continue;
            }
            let key = part_key(body.value_id, piece.key, number as u32);
            if let Some(old) = old {
                body.len = body.len.wrapping_sub(old.len);
                body.sum = body.sum.wrapping_sub(old.sum);
            }
            match new {
                Some(data) => self.put_part(txn, body, &key, data, PutFlags::empty())?,
                None => {
                    chunks.delete(txn, &key)?;
                }
            }
        }
        Ok(())
    }
}

fn stored_body(
    txn: &RwTxn<'_>,
    table: Table,
    row_key: &[u8],
) -> Result<Option<PiecedBody>, TreeError> {
    let Some(row) = table.get(txn, row_key)? else {
        return Ok(None);
    };
    match row::decode_row(row_key, row)?.body {
        Body::Pieced(body, _) => Ok(Some(body)),
        _ => Ok(None),
    }
}

fn old_parts(
    txn: &RwTxn<'_>,
    chunks: Table,
    row_key: &[u8],
    value_id: u64,
    piece: &Piece<'_>,
) -> Result<Vec<OldPart>, TreeError> {
    let first = part_key(value_id, piece.key, 0);
    let last = part_key(value_id, piece.key, u32::MAX);
    let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    let mut new = piece.bytes.chunks(CHUNK_BYTES);
    let mut parts = Vec::new();
    for (number, entry) in (0..).zip(chunks.range(txn, &range)?) {
        let (key, chunk) = entry?;
        if key != part_key(value_id, piece.key, number) {
            return Err(row::corrupt_row(row_key, "a part of a piece is missing"));
        }
        let Some(data) = row::decode_chunk(key, chunk) else {
            return Err(row::corrupt_row(
                row_key,
                "checksum of a piece does not match",
            ));
        };
        parts.push(OldPart {
            sum: checksum(chunk),
            len: data.len() as u64,
            same: new.next() == Some(data),
        });
    }
    Ok(parts)
}

impl Snapshot {
    /// Appends the payload of a value in pieces to `into`.
    pub(super) fn read_pieces(
        &self,
        row_key: &[u8],
        body: &PiecedBody,
        head: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<(), TreeError> {
        let corrupt = |what| Err(row::corrupt_row(row_key, what));
        into.reserve(head.len() + body.len as usize);
        into.extend_from_slice(head);
        let (mut len, mut sum) = (0u64, 0u64);
        let prefix = body.value_id.to_be_bytes();
        for entry in self.store.tables.chunks.prefix_iter(&self.txn, &prefix)? {
            let (key, chunk) = entry?;
            let Some(data) = row::decode_chunk(key, chunk) else {
                return corrupt("checksum of a piece does not match");
            };
            into.extend_from_slice(data);
            len += data.len() as u64;
            sum = sum.wrapping_add(checksum(chunk));
        }
        match (len, sum) == (body.len, body.sum) {
            true => Ok(()),
            false => corrupt("pieces do not add up to the value"),
        }
    }
}

#[cfg(test)]
mod tests;
