//! Cold slots: those whose keys are partly in the tree only. A key is fetched
//! when it is asked for, and a whole slot when it is walked or in the
//! background.

use std::ops::ControlFlow;

use redoubt_persistence::tree::{ScanCursor, ScanRow, Snapshot, TreeError};

use super::spill::ReadValue;
use super::{Db, DbError, ExpiryMode};
use crate::keyspace::entry::Entry;
use crate::keyspace::pieces;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, stripe_of};
use crate::keyspace::{KeyRef, free_entry};

impl Db<'_> {
    /// Fetches a key of a cold slot from the tree. One whose row is damaged is
    /// there, which is enough for who needs no value: so it can be removed, or
    /// stored anew.
    #[cold]
    pub(super) fn load_cold(&mut self, key: &KeyRef, with_value: bool) -> Result<(), DbError> {
        if self.share(key.slot).dirty.is_removed(key.bytes) {
            return Ok(());
        }
        match self.row_of(key) {
            Ok(None) => {}
            Ok(Some((read, expire_at_ms))) => self.adopt(key, read, expire_at_ms),
            Err(NoRow::Damaged(text)) => {
                self.insert_unreadable(key);
                if with_value {
                    return Err(DbError::Storage(text));
                }
            }
            Err(NoRow::Unread(text)) => return Err(DbError::Storage(text)),
        }
        Ok(())
    }

    /// Reads the row of a key that could not be read; it may have been the
    /// reading that failed.
    pub(super) fn reload_unreadable(&mut self, key: &KeyRef) -> Result<(), DbError> {
        match self.row_of(key) {
            Ok(Some((read, expire_at_ms))) => {
                if let Some(place) = self.place(key) {
                    free_entry(place.remove());
                    self.share(key.slot).cold_values -= 1;
                }
                self.adopt(key, read, expire_at_ms);
                Ok(())
            }
            Ok(None) => Err(DbError::Storage("the tree has lost a value".into())),
            Err(NoRow::Damaged(text) | NoRow::Unread(text)) => Err(DbError::Storage(text)),
        }
    }

    /// What the tree has of a key: its value and its expiry.
    fn row_of(&self, key: &KeyRef) -> Result<Option<(ReadValue, Option<i64>)>, NoRow> {
        let Some(tree) = self.keyspace.tree() else {
            return Ok(None);
        };
        let failed = |error: TreeError| match error {
            TreeError::Corrupt { .. } => NoRow::Damaged(error.in_database(self.index).to_string()),
            error => NoRow::Unread(error.to_string()),
        };
        let mut payload = Vec::new();
        let row = tree
            .snapshot()
            .and_then(|snapshot| snapshot.get(self.physical, key.slot, key.bytes, &mut payload))
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        match ReadValue::decode(&payload, row.layout) {
            Ok(read) => Ok(Some((read, row.expire_at_ms))),
            Err(error) => Err(NoRow::Damaged(error.to_string())),
        }
    }

    /// Takes a row of the tree into RAM, unless it has expired.
    fn adopt(&mut self, key: &KeyRef, read: ReadValue, expire_at_ms: Option<i64>) {
        self.insert_from_tree(key, read, expire_at_ms);
        if expire_at_ms.is_some_and(|at| at <= self.now_ms)
            && self.expiry_mode == ExpiryMode::Remove
        {
            self.remove_expired(key);
        } else {
            self.settle_fields(key);
        }
    }

    fn insert_unreadable(&mut self, key: &KeyRef) {
        self.insert_entry_from_tree(key, Entry::new_unreadable(key.bytes));
        self.share(key.slot).cold_values += 1;
    }

    /// Whether a key is there of which no more could be read.
    pub(super) fn is_unreadable(&mut self, key: &KeyRef) -> bool {
        let found = self.table(key.slot).find(key.hash, key.bytes);
        found.is_some_and(|entry| entry.is_unreadable())
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

    /// Loads what is left of a cold slot into RAM. The slot stays cold if there
    /// is a row that does not even tell its key.
    pub fn warm_slot(&mut self, slot: u16) -> Result<(), DbError> {
        let bit = 1u64 << (usize::from(slot) % SLOTS_PER_STRIPE);
        if self.share(slot).cold & bit == 0 {
            return Ok(());
        }
        let storage = |e: &dyn std::fmt::Display| DbError::Storage(e.to_string());
        if let Some(tree) = self.keyspace.tree() {
            let snapshot = tree.snapshot().map_err(|e| storage(&e))?;
            let (mut cursor, mut nameless) = (ScanCursor::start(), 0);
            while !cursor.is_done() {
                let found = rows_of(&snapshot, self.physical, slot, &mut cursor, 512)?;
                for (key, read, expiry) in found.rows {
                    self.offer_from_tree(&key, read, expiry);
                }
                for (key, _) in found.damaged {
                    self.offer_unreadable(&key);
                }
                nameless += found.nameless.len();
            }
            if nameless != 0 {
                return Ok(());
            }
        }
        self.mark_warm(slot);
        Ok(())
    }

    /// Takes a row of the tree into RAM unless RAM knows better.
    pub fn offer_from_tree(&mut self, key: &[u8], read: ReadValue, expire_at_ms: Option<i64>) {
        let key = KeyRef::new(key);
        if !self.is_known(&key) {
            self.insert_from_tree(&key, read, expire_at_ms);
        }
    }

    /// Takes note of a key whose row can't be read, unless RAM knows better:
    /// whether it does not.
    pub fn offer_unreadable(&mut self, key: &[u8]) -> bool {
        let key = KeyRef::new(key);
        if !self.is_known(&key) {
            self.insert_unreadable(&key);
        }
        self.is_unreadable(&key)
    }

    /// Whether RAM knows what has become of a key.
    pub(super) fn is_known(&mut self, key: &KeyRef) -> bool {
        self.table(key.slot).find(key.hash, key.bytes).is_some()
            || self.share(key.slot).dirty.is_removed(key.bytes)
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

/// Why there is no row to be had.
enum NoRow {
    /// There is one, but it is damaged.
    Damaged(String),
    /// The tree could not be read.
    Unread(String),
}

/// A row read back: key, value, expiry.
type LoadedRow = (Vec<u8>, ReadValue, Option<i64>);

/// Rows of a slot.
#[derive(Default)]
pub struct SlotRows {
    /// Those that can be read.
    pub rows: Vec<LoadedRow>,
    /// The keys of those that can't, and why.
    pub damaged: Vec<(Vec<u8>, String)>,
    /// Why others can't be read whose keys are too long to be told without.
    pub nameless: Vec<String>,
}

/// Reads up to `limit` rows of a slot from a snapshot of the tree; behind one
/// that is damaged it breaks off.
pub fn rows_of(
    snapshot: &Snapshot,
    physical: u32,
    slot: u16,
    cursor: &mut ScanCursor,
    limit: usize,
) -> Result<SlotRows, DbError> {
    let mut found = SlotRows::default();
    let mut visit = |row: ScanRow<'_>| {
        let key = row.key.to_vec();
        match ReadValue::decode(row.payload, row.layout) {
            Ok(read) => found.rows.push((key, read, row.expire_at_ms)),
            Err(error) => found.damaged.push((key, error.to_string())),
        }
        ControlFlow::Continue(())
    };
    match snapshot.scan_slot(physical, slot, cursor, limit, &mut visit) {
        Ok(()) => {}
        Err(TreeError::Corrupt { what, .. }) if cursor.is_behind_long() => {
            found.nameless.push(what.to_owned());
        }
        Err(TreeError::Corrupt { key, what, .. }) => found.damaged.push((key, what.to_owned())),
        Err(error) => return Err(DbError::Storage(error.to_string())),
    }
    Ok(found)
}
