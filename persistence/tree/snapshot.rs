//! The read side: a view of one commit.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use heed::{RoTxn, WithoutTls};

use super::row::{self, Body, RowKey};
use super::{Meta, Store, Table, TreeError, read_meta};

/// A consistent view of one commit. It owns what it needs, so it can outlive the [`super::Tree`]
/// and move between threads.
pub struct Snapshot {
    pub(super) txn: RoTxn<'static, WithoutTls>,
    /// Dropped after `txn`.
    pub(super) store: Arc<Store>,
}

/// What a row says beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHead {
    /// Absolute expiry, in milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
    /// The layout of a value in pieces.
    pub layout: Option<u128>,
}

/// A row as a scan shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRow<'a> {
    /// The Redis key.
    pub key: &'a [u8],
    /// Absolute expiry, in milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
    /// RDB type byte and body.
    pub payload: &'a [u8],
    /// The layout of a value in pieces.
    pub layout: Option<u128>,
}

/// Where a scan of one slot stands. It stays good across snapshots: a later one shows the rows
/// behind it as they are then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanCursor(Position);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Position {
    #[default]
    Start,
    /// Behind this LMDB key in the table of short keys.
    Short(Vec<u8>),
    /// Before the first long key.
    Long,
    /// Behind this LMDB key in the table of long keys.
    AfterLong(Vec<u8>),
    End,
}

impl ScanCursor {
    /// Before the first row.
    pub fn start() -> ScanCursor {
        ScanCursor::default()
    }

    /// Behind `key`, whether there is such a key or not.
    pub fn after(db: u32, slot: u16, key: &[u8]) -> Result<ScanCursor, TreeError> {
        let row_key = RowKey::new(db, slot, key)?;
        let bytes = row_key.as_bytes().to_vec();
        Ok(ScanCursor(if row_key.long {
            Position::AfterLong(bytes)
        } else {
            Position::Short(bytes)
        }))
    }

    /// Whether the row that it stands behind is one of the long keys, whose names nothing but
    /// their rows tell.
    pub fn is_behind_long(&self) -> bool {
        matches!(self.0, Position::AfterLong(_))
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.0 == Position::End
    }
}

type Visitor<'v> = &'v mut dyn FnMut(ScanRow<'_>) -> ControlFlow<()>;

impl Snapshot {
    pub(super) fn new(store: Arc<Store>) -> Result<Snapshot, TreeError> {
        let txn = store.env.clone().static_read_txn()?;
        Ok(Snapshot { txn, store })
    }

    /// The commit that this sees.
    pub fn commit_seq(&self) -> u64 {
        self.txn.id() as u64
    }

    /// The metadata of that commit.
    pub fn meta(&self) -> Result<Meta, TreeError> {
        Ok(read_meta(&self.txn, &self.store.tables)?.meta)
    }

    /// The number of keys in a database.
    pub fn key_count(&self, db: u32) -> Result<u64, TreeError> {
        let counts = self.meta()?.key_counts;
        Ok(counts.iter().find(|(at, _)| *at == db).map_or(0, |c| c.1))
    }

    /// Reads a key: its payload replaces what is in `into`. `None` if there is no such key, and
    /// `into` is then empty.
    pub fn get(
        &self,
        db: u32,
        slot: u16,
        key: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<Option<RowHead>, TreeError> {
        into.clear();
        let row_key = RowKey::new(db, slot, key)?;
        let table = self.table(row_key.long);
        let row_key_bytes = row_key.as_bytes();
        let Some(value) = table.get(&self.txn, row_key_bytes)? else {
            return Ok(None);
        };
        let row = row::decode_row(row_key_bytes, value)?;
        match row.body {
            Body::Inline(body) => into.extend_from_slice(body),
            Body::Chunked { value_id, len } => {
                self.read_chunks(row_key_bytes, value_id, len, into)?
            }
            Body::Pieced(pieced, head) => self.read_pieces(row_key_bytes, &pieced, head, into)?,
        }
        if row_key.long {
            let (found, _) = row::split_long_body(row_key_bytes, into)?;
            if found != key {
                into.clear();
                return Ok(None);
            }
            into.drain(..4 + key.len());
        }
        Ok(Some(RowHead {
            expire_at_ms: row.expire_at_ms,
            layout: row.body.layout(),
        }))
    }

    /// Shows up to `limit` rows of a slot to `visit`, from `cursor` on, which moves along: short
    /// keys in their order, then long keys in no useful order. `visit` may break off; the cursor
    /// then stands behind the row it was shown. Behind the last row the cursor is done.
    ///
    /// After [`TreeError::Corrupt`] the cursor stands behind the bad row: a salvage can go on.
    pub fn scan_slot(
        &self,
        db: u32,
        slot: u16,
        cursor: &mut ScanCursor,
        limit: usize,
        visit: Visitor<'_>,
    ) -> Result<(), TreeError> {
        let prefix = row::slot_prefix(db, slot)?;
        let mut left = limit;
        let mut scratch = Vec::new();
        while left > 0 {
            let (long, after) = match &cursor.0 {
                Position::Start => (false, None),
                Position::Short(key) => (false, Some(&key[..])),
                Position::Long => (true, None),
                Position::AfterLong(key) => (true, Some(&key[..])),
                Position::End => return Ok(()),
            };
            let mut run = ScanRun {
                long,
                left,
                last: None,
                scratch: &mut scratch,
            };
            let outcome = self.scan_table(&prefix, after, &mut run, visit);
            left = run.left;
            cursor.0 = match (run.last, &outcome, long) {
                (_, Ok(ControlFlow::Continue(())), false) if left > 0 => Position::Long,
                (_, Ok(ControlFlow::Continue(())), true) if left > 0 => Position::End,
                (Some(last), _, false) => Position::Short(last.to_vec()),
                (Some(last), _, true) => Position::AfterLong(last.to_vec()),
                (None, _, _) => std::mem::take(&mut cursor.0),
            };
            if outcome?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Reads everything, and counts it against the metadata. Takes as long as the tree is large.
    pub fn check_all(&self) -> Result<(), TreeError> {
        let mut rows = 0;
        let mut body = Vec::new();
        for long in [false, true] {
            for entry in self.table(long).iter(&self.txn)? {
                let (row_key, value) = entry?;
                body.clear();
                match row::decode_row(row_key, value)?.body {
                    Body::Inline(_) => {}
                    Body::Chunked { value_id, len } => {
                        self.read_chunks(row_key, value_id, len, &mut body)?
                    }
                    Body::Pieced(pieced, head) => {
                        self.read_pieces(row_key, &pieced, head, &mut body)?
                    }
                }
                rows += 1;
            }
        }
        let counted: u64 = self.meta()?.key_counts.iter().map(|(_, rows)| rows).sum();
        match counted == rows {
            true => Ok(()),
            false => Err(TreeError::CorruptMeta("rows are missing")),
        }
    }

    /// Whether a slot has no rows.
    pub fn slot_is_empty(&self, db: u32, slot: u16) -> Result<bool, TreeError> {
        let prefix = row::slot_prefix(db, slot)?;
        for long in [false, true] {
            let mut rows = self.table(long).prefix_iter(&self.txn, &prefix)?;
            if rows.next().transpose()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn table(&self, long: bool) -> Table {
        let tables = &self.store.tables;
        if long { tables.long } else { tables.keys }
    }

    /// The rows of one table that begin with `prefix` and come behind `after`.
    fn scan_table<'s>(
        &'s self,
        prefix: &[u8],
        after: Option<&[u8]>,
        run: &mut ScanRun<'_, 's>,
        visit: Visitor<'_>,
    ) -> Result<ControlFlow<()>, TreeError> {
        let end = row::after_prefix(prefix);
        let range = (
            after.map_or(Bound::Included(prefix), Bound::Excluded),
            end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        for entry in self.table(run.long).range(&self.txn, &range)? {
            let (row_key, value) = entry?;
            run.last = Some(row_key);
            run.left -= 1;
            let row = row::decode_row(row_key, value)?;
            let layout = row.body.layout();
            let body = match row.body {
                Body::Inline(body) => body,
                Body::Chunked { value_id, len } => {
                    run.scratch.clear();
                    self.read_chunks(row_key, value_id, len, run.scratch)?;
                    &run.scratch[..]
                }
                Body::Pieced(pieced, head) => {
                    run.scratch.clear();
                    self.read_pieces(row_key, &pieced, head, run.scratch)?;
                    &run.scratch[..]
                }
            };
            let (key, payload) = if run.long {
                row::split_long_body(row_key, body)?
            } else {
                (&row_key[prefix.len()..], body)
            };
            let expire_at_ms = row.expire_at_ms;
            let shown = visit(ScanRow {
                key,
                expire_at_ms,
                payload,
                layout,
            });
            if shown.is_break() || run.left == 0 {
                return Ok(shown);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Appends the body that `value_id`'s chunks make up to `into`.
    fn read_chunks(
        &self,
        row_key: &[u8],
        value_id: u64,
        len: u64,
        into: &mut Vec<u8>,
    ) -> Result<(), TreeError> {
        let corrupt = |what| Err(row::corrupt_row(row_key, what));
        let start = into.len();
        into.reserve(len as usize);
        let prefix = value_id.to_be_bytes();
        let chunks = self.store.tables.chunks.prefix_iter(&self.txn, &prefix)?;
        for (number, entry) in chunks.enumerate() {
            let (key, chunk) = entry?;
            if key != row::chunk_key(value_id, number as u32) {
                return corrupt("a chunk of the value is missing");
            }
            match row::decode_chunk(key, chunk) {
                Some(data) => into.extend_from_slice(data),
                None => return corrupt("checksum of a chunk does not match"),
            }
        }
        if (into.len() - start) as u64 != len {
            return corrupt("chunks do not add up to the value's length");
        }
        Ok(())
    }
}

/// One table's part of a scan.
struct ScanRun<'r, 's> {
    long: bool,
    /// Rows that may still be shown.
    left: usize,
    /// The LMDB key of the last row looked at.
    last: Option<&'s [u8]>,
    scratch: &'r mut Vec<u8>,
}
