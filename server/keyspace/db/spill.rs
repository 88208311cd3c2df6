//! Values that are in the tree only, while their keys stay in RAM: how a value
//! leaves, and how it comes back.
//!
//! A value may leave when the tree's last commit has it: its key is in no set of
//! changed keys, nor in that which a checkpoint under way has collected, since
//! what is collected is not committed yet. From then on the row does not change until
//! the value is back, so any later snapshot has it.

use redoubt_persistence::tree::Tree;

use redoubt_persistence::rdb::RdbError;

use super::{Db, DbError};
use crate::keyspace::dirty::{packed, unpacked};
use crate::keyspace::entry::{Entry, Value, ValueType};
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, StripeDb};
use crate::keyspace::table::hash_bytes;
use crate::keyspace::{KeyRef, Keyspace, codec, free_entry, pieces, share_of};

/// Values that came back to a stripe: so many are remembered.
const MOST_RETURNED: usize = 1024;
/// The last so many of them stay: their commands are about to run.
const FRESH: usize = 4;
/// Less than this is not worth a read from the tree later.
const WORTHWHILE_BYTES: usize = 32;

impl Db<'_> {
    /// Drops a key's value from RAM if the tree has it; gives the bytes freed.
    pub fn spill(&mut self, key: &[u8]) -> Option<usize> {
        let key = self.key_ref(key);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        spill_entry(self.keyspace, share, slot, key.hash, key.bytes)
    }

    /// Whether a key is there without its value.
    pub fn is_cold_value(&mut self, key: &[u8]) -> bool {
        self.resident(key).is_some_and(|entry| entry.is_cold())
    }

    /// Brings back a value that was read from the tree, if it is still away.
    pub fn bring_back(&mut self, key: &[u8], read: ReadValue) {
        let key = self.key_ref(key);
        let access = self.access;
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let Some(mut place) = share.tables[slot].find_place(key.hash, key.bytes) else {
            return;
        };
        let old = place.get();
        if !old.is_cold() || old.is_unreadable() {
            return;
        }
        let entry = Entry::new(key.bytes, read.value, old.expire_at_ms());
        pieces::note(&entry, read.layout, read.payload_type);
        entry.set_in_tree();
        entry.set_access(old.access());
        if let Some(access) = access {
            entry.touch_as(&old, access);
        }
        let has_expiring_fields = entry.has_expiring_fields();
        place.replace(entry);
        share.cold_values -= 1;
        if share.returned.len() == MOST_RETURNED {
            share.returned.pop_front();
        }
        share.returned.push_back(packed(slot, key.hash));
        if has_expiring_fields {
            self.schedule_fields_of(&key);
        }
    }

    /// Drops a value from RAM that came back to a stripe before others; gives
    /// the bytes freed. Those that came back last stay for who asked for them.
    pub fn spill_returned(&mut self, stripe: usize) -> Option<usize> {
        let share = share_of(self.held.stripe(stripe), self.physical);
        while share.returned.len() > FRESH {
            let (slot, position) = unpacked(share.returned.pop_front()?);
            let mut found = None;
            share.tables[slot].with_hash(position, |entry| {
                if !entry.is_cold() {
                    found = Some(entry.key().to_vec());
                }
            });
            let freed = found
                .and_then(|key| spill_entry(self.keyspace, share, slot, hash_bytes(&key), &key));
            if freed.is_some() {
                return freed;
            }
        }
        None
    }

    /// Reads a value from the tree and brings it back, under lock. The way for
    /// what was not foreseen; see `cold_reads.rs`.
    #[cold]
    pub(super) fn reload(&mut self, key: &KeyRef) -> Result<(), DbError> {
        if self.is_unreadable(key) {
            return self.reload_unreadable(key);
        }
        let tree = self.keyspace.tree();
        let tree = tree.ok_or_else(|| DbError::Storage("there is no tree".into()))?;
        let (read, _) = read_value(&tree, self.physical, key)?;
        self.keyspace.note_stalled_read();
        self.bring_back(key.bytes, read);
        Ok(())
    }

    /// Takes a row of the tree into RAM without its value, unless RAM knows
    /// better.
    pub fn offer_key_from_tree(
        &mut self,
        key: &[u8],
        value_type: ValueType,
        expire_at_ms: Option<i64>,
    ) {
        let key = KeyRef::new(key);
        if !self.is_known(&key) {
            let entry = Entry::new_cold(key.bytes, value_type, expire_at_ms);
            self.insert_entry_from_tree(&key, entry);
            self.share(key.slot).cold_values += 1;
            self.keyspace.note_spilled();
        }
    }

    /// This database's number in the tree.
    pub fn physical(&self) -> u32 {
        self.physical
    }
}

/// Drops the value of a key of this slot from RAM if the tree has it; gives the
/// bytes freed.
pub fn spill_entry(
    keyspace: &Keyspace,
    share: &mut StripeDb,
    slot: usize,
    hash: u64,
    key: &[u8],
) -> Option<usize> {
    if share.dirty.is_collected(slot, hash) {
        return None;
    }
    let mut place = share.tables[slot].find_place(hash, key)?;
    let entry = place.get();
    let dirty = entry.is_dirty(0) || entry.is_dirty(1);
    if entry.is_cold() || !entry.is_in_tree() || dirty || entry.has_expiring_fields() {
        return None;
    }
    let cold = Entry::new_cold(entry.key(), entry.value_type(), entry.expire_at_ms());
    cold.set_in_tree();
    cold.set_access(entry.access());
    let freed = entry.memory_bytes().saturating_sub(cold.memory_bytes());
    if freed < WORTHWHILE_BYTES {
        return None;
    }
    let old = place.replace(cold);
    share.cold_values += 1;
    free_entry(old);
    keyspace.note_spilled();
    Some(freed)
}

/// A value that was read from the tree, and how it lies there.
pub struct ReadValue {
    /// The value.
    pub value: Value,
    pub(super) layout: Option<u128>,
    pub(super) payload_type: u8,
}

impl ReadValue {
    pub(super) fn decode(payload: &[u8], layout: Option<u128>) -> Result<ReadValue, RdbError> {
        Ok(ReadValue {
            value: codec::decode_payload(payload)?,
            layout,
            payload_type: payload.first().copied().unwrap_or(0),
        })
    }
}

/// Reads a value that is away from the tree's last commit; gives that commit's
/// number too.
pub fn read_value(tree: &Tree, physical: u32, key: &KeyRef) -> Result<(ReadValue, u64), DbError> {
    let storage = |e: &dyn std::fmt::Display| DbError::Storage(e.to_string());
    let snapshot = tree.snapshot().map_err(|e| storage(&e))?;
    let mut payload = Vec::new();
    let row = snapshot.get(physical, key.slot, key.bytes, &mut payload);
    match row.map_err(|e| storage(&e))? {
        None => Err(DbError::Storage("the tree has lost a value".into())),
        Some(head) => {
            let read = ReadValue::decode(&payload, head.layout).map_err(|e| storage(&e))?;
            Ok((read, snapshot.commit_seq()))
        }
    }
}
