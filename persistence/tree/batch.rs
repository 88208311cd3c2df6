//! The write side: one transaction at a time, sorted by its caller for speed.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use heed::{PutFlags, RwTxn};

use super::row::{self, RowBody, RowKey};
use super::{Committed, Meta, Store, Table, Tables, Tree, TreeError, meta};

/// The one open write transaction. Nothing is visible before [`Batch::commit`]; dropping it, or
/// any error inside it, undoes all of it.
///
/// Fastest with keys in order of (db, slot, key).
pub struct Batch<'t> {
    pub(super) tree: &'t Tree,
    /// `None` after an error. Borrows from `store`.
    txn: Option<RwTxn<'t>>,
    key_counts: BTreeMap<u32, u64>,
    pub(super) next_value_id: u64,
    pub(super) bytes_put: u64,
    pub(super) scratch: Scratch,
    pub(super) store: Arc<Store>,
    /// LMDB's write lock belongs to the thread that took it.
    _not_send: PhantomData<*const ()>,
}

#[derive(Default)]
pub(super) struct Scratch {
    pub(super) row: Vec<u8>,
    pub(super) chunk: Vec<u8>,
    body: Vec<u8>,
}

impl<'t> Batch<'t> {
    pub(super) fn begin(tree: &'t Tree) -> Result<Batch<'t>, TreeError> {
        if tree.has_batch.swap(true, Ordering::Acquire) {
            return Err(TreeError::WriterBusy);
        }
        let begun = tree.environment.store().and_then(|store| {
            let txn = store.env.write_txn()?;
            // SAFETY: what the transaction borrows stays where it is until the batch drops
            // `store`, and `Batch::drop` drops the transaction before that.
            let txn = unsafe { mem::transmute::<RwTxn<'_>, RwTxn<'t>>(txn) };
            Ok((store, txn))
        });
        let (store, txn) = begun.inspect_err(|_| {
            tree.has_batch.store(false, Ordering::Release);
        })?;
        let committed = tree.committed.lock();
        Ok(Batch {
            tree,
            txn: Some(txn),
            key_counts: committed.meta.key_counts.iter().copied().collect(),
            next_value_id: committed.next_value_id,
            bytes_put: 0,
            scratch: Scratch::default(),
            store,
            _not_send: PhantomData,
        })
    }

    /// Writes a row, over an older one if there is one; gives whether the key is new.
    pub fn put(
        &mut self,
        db: u32,
        slot: u16,
        key: &[u8],
        expire_at_ms: Option<i64>,
        payload: &[u8],
    ) -> Result<bool, TreeError> {
        self.guarded(|batch, txn| {
            let row_key = RowKey::new(db, slot, key)?;
            let table = batch.table(&row_key);
            batch.encode(txn, &row_key, key, expire_at_ms, payload)?;
            batch.put_row(txn, table, db, row_key.as_bytes())
        })
    }

    /// Puts the row in `scratch.row`, over an older one if there is one, whose chunks go; gives
    /// whether the key is new.
    pub(super) fn put_row(
        &mut self,
        txn: &mut RwTxn<'t>,
        table: Table,
        db: u32,
        row_key: &[u8],
    ) -> Result<bool, TreeError> {
        let row = &self.scratch.row;
        self.bytes_put += (row_key.len() + row.len()) as u64;
        let old = match table.get_or_put(txn, row_key, row)? {
            None => {
                *self.key_counts.entry(db).or_default() += 1;
                return Ok(true);
            }
            Some(old) => row::value_id_of(row_key, old),
        };
        table.put(txn, row_key, row)?;
        self.delete_chunks(txn, old)?;
        Ok(false)
    }

    /// Bytes of rows and chunks, keys included, that were put so far. The pages they lie in are
    /// written as a whole.
    pub fn bytes_put(&self) -> u64 {
        self.bytes_put
    }

    /// Deletes a row; gives whether there was one.
    pub fn delete(&mut self, db: u32, slot: u16, key: &[u8]) -> Result<bool, TreeError> {
        self.guarded(|batch, txn| {
            let row_key = RowKey::new(db, slot, key)?;
            let table = batch.table(&row_key);
            let row_key = row_key.as_bytes();
            let Some(old) = table.get(txn, row_key)? else {
                return Ok(false);
            };
            let old = row::value_id_of(row_key, old);
            table.delete(txn, row_key)?;
            batch.delete_chunks(txn, old)?;
            batch.count_deleted(db, 1);
            Ok(true)
        })
    }

    /// Deletes all rows of a database; gives how many there were.
    pub fn clear_db(&mut self, db: u32) -> Result<u64, TreeError> {
        if self.key_counts.keys().all(|other| *other == db) {
            let count = self.key_counts.get(&db).copied().unwrap_or(0);
            return self.clear_all().map(|()| count);
        }
        self.guarded(|batch, txn| batch.delete_prefix(txn, db, &row::db_prefix(db)?))
    }

    /// Deletes all rows of one hash slot of a database; gives how many there were.
    pub fn clear_slot(&mut self, db: u32, slot: u16) -> Result<u64, TreeError> {
        self.guarded(|batch, txn| batch.delete_prefix(txn, db, &row::slot_prefix(db, slot)?))
    }

    /// Deletes all rows of all databases.
    pub fn clear_all(&mut self) -> Result<(), TreeError> {
        self.guarded(|batch, txn| {
            let Tables {
                keys, long, chunks, ..
            } = batch.store.tables;
            keys.clear(txn)?;
            long.clear(txn)?;
            chunks.clear(txn)?;
            batch.key_counts.clear();
            Ok(())
        })
    }

    /// Makes the batch durable and visible, together with `meta`.
    ///
    /// After an error here the tree is as it was before the batch, which may be tried again as a
    /// whole: the pages that a batch writes belong to no commit before it, so none is relied on
    /// whose write or sync has failed (I6). But when it is the root page that could not be
    /// written, what the disk holds is not known until the tree is opened anew: it then takes no
    /// more writes ([`Tree::failure`]).
    pub fn commit(mut self, meta: &Meta) -> Result<(), TreeError> {
        let mut txn = self.txn.take().ok_or(TreeError::BatchAborted)?;
        self.key_counts.retain(|_, count| *count > 0);
        let mut meta = meta.clone();
        meta.key_counts = self.key_counts.iter().map(|(db, n)| (*db, *n)).collect();
        meta.format_version = meta::FORMAT_VERSION;
        let commit_seq = txn.id() as u64;
        let written = self.write_meta(&mut txn, &meta);
        let result = written.and_then(|()| txn.commit().map_err(TreeError::from));
        if let Err(error) = &result {
            // LMDB begins no further transaction after such an error.
            if let Err(fatal) = self.store.env.write_txn() {
                let text = format!("{error}, then: {fatal}");
                let _ = self.tree.failure.set(text);
            }
            return result;
        }
        *self.tree.committed.lock() = Committed {
            meta,
            next_value_id: self.next_value_id,
        };
        self.tree.commit_seq.store(commit_seq, Ordering::Release);
        Ok(())
    }

    fn write_meta(&self, txn: &mut RwTxn<'t>, meta: &Meta) -> Result<(), TreeError> {
        let table = self.store.tables.meta;
        let counts = meta.key_counts.iter().copied();
        let state = meta::encode_state(meta, counts, self.next_value_id);
        table.put(txn, meta::STATE_KEY, &state)?;
        if meta.extra != self.tree.committed.lock().meta.extra {
            table.put(txn, meta::EXTRA_KEY, &meta::encode_extra(&meta.extra))?;
        }
        Ok(())
    }

    /// Runs `step` on the transaction, and aborts the transaction if it fails.
    pub(super) fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Self, &mut RwTxn<'t>) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let mut txn = self.txn.take().ok_or(TreeError::BatchAborted)?;
        let value = step(self, &mut txn)?;
        self.txn = Some(txn);
        Ok(value)
    }

    pub(super) fn table(&self, row_key: &RowKey) -> Table {
        let tables = &self.store.tables;
        if row_key.long {
            tables.long
        } else {
            tables.keys
        }
    }

    /// Leaves the row in `scratch.row`, having written its chunks if it is too large for one row.
    fn encode(
        &mut self,
        txn: &mut RwTxn<'t>,
        row_key: &RowKey,
        key: &[u8],
        expire_at_ms: Option<i64>,
        payload: &[u8],
    ) -> Result<(), TreeError> {
        let key_len = (key.len() as u32).to_le_bytes();
        let parts: &[&[u8]] = if row_key.long {
            &[&key_len, key, payload]
        } else {
            &[payload]
        };
        let body_len = parts.iter().map(|part| part.len()).sum();
        let row_key = row_key.as_bytes();
        let Scratch { row, chunk, body } = &mut self.scratch;
        if row::fits_inline(row_key, expire_at_ms.is_some(), body_len) {
            row::encode_row(row, row_key, expire_at_ms, RowBody::Inline(parts));
            return Ok(());
        }
        let value_id = self.next_value_id;
        self.next_value_id += 1;
        let whole = match parts {
            [payload] => payload,
            parts => {
                body.clear();
                parts.iter().for_each(|part| body.extend_from_slice(part));
                &body[..]
            }
        };
        for (number, data) in whole.chunks(row::CHUNK_BYTES).enumerate() {
            let chunk_key = row::chunk_key(value_id, number as u32);
            row::encode_chunk(chunk, &chunk_key, data);
            // Value ids only grow, so that each chunk comes after all others.
            let chunks = self.store.tables.chunks;
            chunks.put_with_flags(txn, PutFlags::APPEND, &chunk_key, chunk)?;
            self.bytes_put += (chunk_key.len() + chunk.len()) as u64;
        }
        let len = body_len as u64;
        let body = RowBody::Chunked { value_id, len };
        row::encode_row(row, row_key, expire_at_ms, body);
        Ok(())
    }

    fn delete_chunks(&self, txn: &mut RwTxn<'t>, value_id: Option<u64>) -> Result<(), TreeError> {
        let Some(value_id) = value_id else {
            return Ok(());
        };
        let first = value_id.to_be_bytes();
        let next = value_id.saturating_add(1).to_be_bytes();
        let range = (Bound::Included(&first[..]), Bound::Excluded(&next[..]));
        self.store.tables.chunks.delete_range(txn, &range)?;
        Ok(())
    }

    fn delete_prefix(
        &mut self,
        txn: &mut RwTxn<'t>,
        db: u32,
        prefix: &[u8],
    ) -> Result<u64, TreeError> {
        let end = row::after_prefix(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(prefix), end);
        let mut deleted = 0;
        for table in [self.store.tables.keys, self.store.tables.long] {
            let mut chunked = Vec::new();
            for entry in table.range(txn, &range)? {
                let (key, row) = entry?;
                chunked.extend(row::value_id_of(key, row));
            }
            chunked.sort_unstable();
            for value_id in chunked {
                self.delete_chunks(txn, Some(value_id))?;
            }
            deleted += table.delete_range(txn, &range)? as u64;
        }
        self.count_deleted(db, deleted);
        Ok(deleted)
    }

    fn count_deleted(&mut self, db: u32, rows: u64) {
        if let Some(count) = self.key_counts.get_mut(&db) {
            *count = count.saturating_sub(rows);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // LMDB's own lock first: the next writer must not wait for it.
        self.txn = None;
        self.tree.has_batch.store(false, Ordering::Release);
    }
}
