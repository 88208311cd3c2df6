//! Changes to a key: its entry, its place in the expiry index, the counts,
//! and what the next checkpoint has to write.

use super::{Db, DbError, ExpiryMode};
use crate::keyspace::dirty::{PreImage, packed};
use crate::keyspace::entry::{Entry, Value, ValueType};
use crate::keyspace::recorder::class;
use crate::keyspace::rows::Rows;
use crate::keyspace::stripe::SLOTS_PER_STRIPE;
use crate::keyspace::table::Place;
use crate::keyspace::{KeyRef, free_entry, pieces, share_of};

impl Db<'_> {
    /// Readies a key for a change: its frozen value is saved if a checkpoint
    /// still needs it, and it joins the changed keys.
    #[inline]
    pub(super) fn before_change(&mut self, key: &KeyRef) {
        if !self.tracking {
            return;
        }
        let parity = self.parity;
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let Some(entry) = share.tables[slot].find(key.hash, key.bytes) else {
            return;
        };
        if entry.is_dirty(1 - parity) {
            let mut row = Rows::default();
            self.keyspace.push_row(&entry, &mut row);
            share.dirty.pre_images.push(PreImage::Row(row));
            entry.set_dirty(1 - parity, false);
            entry.set_in_tree();
        }
        if !entry.is_dirty(parity) {
            entry.set_dirty(parity, true);
            share.dirty.changed[parity].push(packed(slot, key.hash));
        }
    }

    #[inline]
    pub(super) fn place(&mut self, key: &KeyRef) -> Option<Place<'_, Entry>> {
        self.table(key.slot).find_place(key.hash, key.bytes)
    }

    /// Stores an entry under a key, in place of what was there.
    pub(super) fn store(&mut self, key: &KeyRef, entry: Entry) {
        let (parity, tracking, index) = (self.parity, self.tracking, self.index);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let new_expiry = entry.expire_at_ms();
        let access = self.access;
        let has_expiring_fields = entry.has_expiring_fields();
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let mut old_expiry = None;
        match share.tables[slot].find_place(key.hash, key.bytes) {
            Some(mut place) => {
                let old = place.get();
                match access {
                    Some(access) => entry.touch_as(&old, access),
                    None => entry.set_access(old.access()),
                }
                old_expiry = old.expire_at_ms();
                let frozen = old.is_dirty(1 - parity);
                let listed = old.is_dirty(parity);
                if old.is_in_tree() || frozen {
                    entry.set_in_tree();
                }
                if tracking {
                    entry.set_dirty(parity, true);
                }
                let old = place.replace(entry);
                if old.value_type() == ValueType::Hash {
                    share.field_expiries.forget(slot as u8, key.hash);
                }
                share.cold_values -= u64::from(old.is_cold());
                if tracking && !listed {
                    share.dirty.changed[parity].push(packed(slot, key.hash));
                }
                if frozen {
                    share.dirty.pre_images.push(PreImage::Entry(old));
                } else {
                    free_entry(old);
                }
            }
            None => {
                if let Some(access) = access.or(self.birth) {
                    entry.touch(access);
                }
                if tracking {
                    entry.set_dirty(parity, true);
                    share.dirty.changed[parity].push(packed(slot, key.hash));
                }
                share.tables[slot].insert_new(key.hash, entry);
                self.keyspace.add_keys(index, 1);
                self.event(class::NEW, "new", key.bytes);
            }
        }
        self.move_expiry(key, old_expiry, new_expiry);
        if has_expiring_fields {
            self.schedule_fields_of(key);
        }
    }

    /// A replica's own client gave a key an expiry: no primary will remove it.
    #[inline]
    fn note_own_expiry(&self, key: &[u8], expire_at_ms: Option<i64>) {
        if expire_at_ms.is_some() && self.expiry_mode == ExpiryMode::Hide {
            self.keyspace.own_expiries.note(self.index, key);
        }
    }

    fn move_expiry(&mut self, key: &KeyRef, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        let slot = (usize::from(key.slot) % SLOTS_PER_STRIPE) as u8;
        let expiries = &mut self.share(key.slot).expiries;
        if let Some(at_ms) = old {
            expiries.remove(&(at_ms, slot, key.hash));
        }
        if let Some(at_ms) = new {
            expiries.insert((at_ms, slot, key.hash));
        }
        let difference = i64::from(new.is_some()) - i64::from(old.is_some());
        if difference != 0 {
            self.keyspace.add_expires(self.index, difference);
        }
    }

    /// Stores a string, whatever was there before.
    #[inline]
    pub fn set_string(
        &mut self,
        key: &[u8],
        value: &[u8],
        expire_at_ms: Option<i64>,
    ) -> Result<(), DbError> {
        let key = self.key_ref(key);
        if expire_at_ms.is_none() && self.overwrite(&key, value) {
            return Ok(());
        }
        self.prepare_key(&key, false)?;
        self.note_own_expiry(key.bytes, expire_at_ms);
        self.store(&key, Entry::new_string(key.bytes, value, expire_at_ms));
        Ok(())
    }

    /// The quickest SET: the same length into the same allocation.
    #[inline]
    fn overwrite(&mut self, key: &KeyRef, value: &[u8]) -> bool {
        let (parity, tracking) = (self.parity, self.tracking);
        let access = self.access;
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let Some(mut place) = share.tables[slot].find_place(key.hash, key.bytes) else {
            return false;
        };
        let entry = place.get();
        if entry.expire_at_ms().is_some() || (tracking && entry.is_dirty(1 - parity)) {
            return false;
        }
        let listed = entry.is_dirty(parity);
        if let Some(access) = access {
            entry.touch(access);
        }
        let mut done = false;
        place.update(|mut entry| {
            done = entry.overwrite(value);
            if done && tracking && !listed {
                entry.set_dirty(parity, true);
            }
            entry
        });
        if done && tracking && !listed {
            share.dirty.changed[parity].push(packed(slot, key.hash));
        }
        done
    }

    /// Stores any value, whatever was there before. Empty collections must
    /// not be stored.
    pub fn set_value(
        &mut self,
        key: &[u8],
        value: Value,
        expire_at_ms: Option<i64>,
    ) -> Result<(), DbError> {
        let key = self.key_ref(key);
        self.prepare_key(&key, false)?;
        self.note_own_expiry(key.bytes, expire_at_ms);
        self.store(&key, Entry::new(key.bytes, value, expire_at_ms));
        Ok(())
    }

    /// Removes a key; false when there was none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let key = self.key_ref(key);
        self.prepare_key(&key, false)?;
        if self.prepared_ref(&key)?.is_none() && self.expiry_mode == ExpiryMode::Hide {
            return Ok(false);
        }
        Ok(self.detach(&key))
    }

    /// Takes a key out: its value and expiry.
    pub fn take(&mut self, key: &[u8]) -> Result<Option<(Value, Option<i64>)>, DbError> {
        let key = self.key_ref(key);
        if self.peek_ref(&key)?.is_none() {
            return Ok(None);
        }
        self.before_change(&key);
        Ok(self.unlink(&key).map(|entry| {
            let expiry = entry.expire_at_ms();
            // What the tree has, it has under this key.
            pieces::forget(&entry);
            (entry.into_value(), expiry)
        }))
    }

    /// Removes the entry and frees it.
    pub(super) fn detach(&mut self, key: &KeyRef) -> bool {
        let parity = self.parity;
        let Some(entry) = self.unlink(key) else {
            return false;
        };
        if self.tracking && entry.is_dirty(1 - parity) {
            self.share(key.slot)
                .dirty
                .pre_images
                .push(PreImage::Entry(entry));
        } else {
            free_entry(entry);
        }
        true
    }

    /// Removes the entry from table, index and counts, and notes that its row
    /// must go from the tree.
    fn unlink(&mut self, key: &KeyRef) -> Option<Entry> {
        let (parity, tracking) = (self.parity, self.tracking);
        let entry = self.place(key)?.remove();
        if entry.is_cold() {
            self.share(key.slot).cold_values -= 1;
        }
        if entry.value_type() == ValueType::Hash {
            let slot = (usize::from(key.slot) % SLOTS_PER_STRIPE) as u8;
            let expiries = &mut self.share(key.slot).field_expiries;
            expiries.forget(slot, key.hash);
        }
        if tracking && (entry.is_in_tree() || entry.is_dirty(1 - parity)) {
            self.share(key.slot).dirty.note_removed(parity, key.bytes);
        }
        let expiry = entry.expire_at_ms();
        self.move_expiry(key, expiry, None);
        self.keyspace.add_keys(self.index, -1);
        Some(entry)
    }

    /// Sets or removes a key's expiry; false when there is no key.
    pub fn set_expiry(&mut self, key: &[u8], expire_at_ms: Option<i64>) -> Result<bool, DbError> {
        let key = self.key_ref(key);
        if self.peek_ref(&key)?.is_none() {
            return Ok(false);
        }
        self.before_change(&key);
        self.note_own_expiry(key.bytes, expire_at_ms);
        let Some(mut place) = self.place(&key) else {
            return Ok(false);
        };
        let old = place.get().expire_at_ms();
        place.update(|entry| entry.with_expiry(expire_at_ms));
        self.move_expiry(&key, old, expire_at_ms);
        Ok(true)
    }
}
