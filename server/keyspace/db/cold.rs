//! Cold slots: those whose keys are partly in the tree only. A key is fetched
//! when it is asked for, and a whole slot when it is walked or in the
//! background.

use std::ops::ControlFlow;

use redoubt_persistence::tree::{ScanCursor, ScanRow, Snapshot};

use super::spill::ReadValue;
use super::{Db, DbError, ExpiryMode};
use crate::keyspace::KeyRef;
use crate::keyspace::entry::Entry;
use crate::keyspace::pieces;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, stripe_of};

impl Db<'_> {
    /// Fetches a key of a cold slot from the tree.
    #[cold]
    pub(super) fn load_cold(&mut self, key: &KeyRef) -> Result<(), DbError> {
        let physical = self.physical;
        if self.share(key.slot).dirty.is_removed(key.bytes) {
            return Ok(());
        }
        let Some(tree) = self.keyspace.tree() else {
            return Ok(());
        };
        let snapshot = tree
            .snapshot()
            .map_err(|e| DbError::Storage(e.to_string()))?;
        let mut payload = Vec::new();
        let row = snapshot
            .get(physical, key.slot, key.bytes, &mut payload)
            .map_err(|e| DbError::Storage(e.to_string()))?;
        let Some(row) = row else { return Ok(()) };
        let read =
            ReadValue::decode(&payload, row.layout).map_err(|e| DbError::Storage(e.to_string()))?;
        self.insert_from_tree(key, read, row.expire_at_ms);
        if row.expire_at_ms.is_some_and(|at| at <= self.now_ms)
            && self.expiry_mode == ExpiryMode::Remove
        {
            self.remove_expired(key);
        } else {
            self.settle_fields(key);
        }
        Ok(())
    }

    fn insert_from_tree(&mut self, key: &KeyRef, read: ReadValue, expire_at_ms: Option<i64>) {
        let entry = Entry::new(key.bytes, read.value, expire_at_ms);
        pieces::note(&entry, read.layout, read.payload_type);
        self.insert_entry_from_tree(key, entry);
    }

    pub(super) fn insert_entry_from_tree(&mut self, key: &KeyRef, entry: Entry) {
        let expire_at_ms = entry.expire_at_ms();
        entry.set_in_tree();
        if let Some(access) = self.access {
            entry.touch(access);
        }
        if let Some(at_ms) = expire_at_ms {
            let slot = (usize::from(key.slot) % SLOTS_PER_STRIPE) as u8;
            self.share(key.slot)
                .expiries
                .insert((at_ms, slot, key.hash));
            self.keyspace.add_expires(self.index, 1);
        }
        let has_expiring_fields = entry.has_expiring_fields();
        self.table(key.slot).insert_new(key.hash, entry);
        if has_expiring_fields {
            self.schedule_fields_of(key);
        }
    }

    /// Loads what is left of a cold slot into RAM.
    pub fn warm_slot(&mut self, slot: u16) -> Result<(), DbError> {
        let bit = 1u64 << (usize::from(slot) % SLOTS_PER_STRIPE);
        if self.share(slot).cold & bit == 0 {
            return Ok(());
        }
        let storage = |e: &dyn std::fmt::Display| DbError::Storage(e.to_string());
        if let Some(tree) = self.keyspace.tree() {
            let snapshot = tree.snapshot().map_err(|e| storage(&e))?;
            let mut cursor = ScanCursor::start();
            while !cursor.is_done() {
                for (key, read, expiry) in
                    rows_of(&snapshot, self.physical, slot, &mut cursor, 512)?
                {
                    self.offer_from_tree(&key, read, expiry);
                }
            }
        }
        self.mark_warm(slot);
        Ok(())
    }

    /// Takes a row of the tree into RAM unless RAM knows better.
    pub fn offer_from_tree(&mut self, key: &[u8], read: ReadValue, expire_at_ms: Option<i64>) {
        let key = KeyRef::new(key);
        let known = self.table(key.slot).find(key.hash, key.bytes).is_some()
            || self.share(key.slot).dirty.is_removed(key.bytes);
        if !known {
            self.insert_from_tree(&key, read, expire_at_ms);
        }
    }

    /// Whether a held slot may have keys that are in the tree only.
    pub fn is_cold(&mut self, slot: u16) -> bool {
        let bit = 1u64 << (usize::from(slot) % SLOTS_PER_STRIPE);
        let share = self
            .held
            .stripe(stripe_of(slot))
            .dbs
            .get(self.physical as usize);
        share
            .and_then(Option::as_ref)
            .is_some_and(|share| share.cold & bit != 0)
    }

    /// Notes that all rows of a slot have been offered.
    pub fn mark_warm(&mut self, slot: u16) {
        let bit = 1u64 << (usize::from(slot) % SLOTS_PER_STRIPE);
        let share = self.share(slot);
        if share.cold & bit != 0 {
            share.cold &= !bit;
            self.keyspace.slot_became_warm();
        }
    }
}

/// A row read back: key, value, expiry.
pub type LoadedRow = (Vec<u8>, ReadValue, Option<i64>);

/// Reads up to `limit` rows of a slot from a snapshot of the tree.
pub fn rows_of(
    snapshot: &Snapshot,
    physical: u32,
    slot: u16,
    cursor: &mut ScanCursor,
    limit: usize,
) -> Result<Vec<LoadedRow>, DbError> {
    let mut rows = Vec::new();
    let mut failed = None;
    let mut visit = |row: ScanRow<'_>| match ReadValue::decode(row.payload, row.layout) {
        Ok(read) => {
            rows.push((row.key.to_vec(), read, row.expire_at_ms));
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error.to_string());
            ControlFlow::Break(())
        }
    };
    snapshot
        .scan_slot(physical, slot, cursor, limit, &mut visit)
        .map_err(|e| DbError::Storage(e.to_string()))?;
    match failed {
        Some(error) => Err(DbError::Storage(error)),
        None => Ok(rows),
    }
}
