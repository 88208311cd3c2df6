//! What commands call: one database, under the locks that the dispatcher took
//! for the command's keys.
//!
//! Every method that changes something keeps the sets of changed keys, the
//! expiry index and the counts right, and notes what happened in the
//! [`Recorder`]. A command never does any of this by hand; it only names the
//! event (`changed`).

use std::ops::{Bound, ControlFlow};

use redoubt_persistence::tree::{ScanCursor, ScanRow, Snapshot};

use super::codec;
use super::dirty::{PreImage, packed};
use super::entry::{Entry, Value, ValueRef, ValueType};
use super::hash::Hash;
use super::list::List;
use super::recorder::{Change, Recorder};
use super::set::Set;
use super::stripe::{Held, SLOTS_PER_STRIPE, STRIPES, StripeDb, StripeSet, stripe_of};
use super::table::{Borrowed, Place, Table};
use super::zset::ZSet;
use super::{KeyRef, Keyspace, free_entry, share_of};

/// Why a look-up failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbError {
    /// The key holds another type than the command is for.
    WrongType,
    /// A value could not be read back from the tree.
    Storage(String),
}

/// What becomes of a key that is found to have expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryMode {
    /// It is removed and the removal enters the log (a primary).
    Remove,
    /// It is treated as absent (a replica serving its own clients).
    Hide,
    /// It is treated as present (replay of the log: no clock is read, I2).
    Ignore,
}

/// One database under lock.
pub struct Db<'k> {
    keyspace: &'k Keyspace,
    held: Held<'k>,
    index: u32,
    physical: u32,
    parity: usize,
    tracking: bool,
    /// Slot and hash of the key that the dispatcher looked at already, by the
    /// address of its bytes.
    hint: Option<(*const [u8], u64, u16)>,
    /// The time that commands see, Unix milliseconds; one for a transaction.
    pub now_ms: i64,
    /// The eviction clock to stamp entries with; None leaves them alone.
    pub access: Option<u32>,
    /// What becomes of expired keys.
    pub expiry_mode: ExpiryMode,
    /// What was done.
    pub recorder: Recorder,
}

impl<'k> Db<'k> {
    /// Locks `stripes` and opens logical database `index`, which exists.
    #[inline]
    pub fn open(keyspace: &'k Keyspace, stripes: StripeSet, index: u32, now_ms: i64) -> Db<'k> {
        let held = keyspace.lock(stripes);
        Db {
            keyspace,
            held,
            index,
            physical: keyspace.physical(index),
            parity: keyspace.parity(),
            tracking: keyspace.is_tracking(),
            hint: None,
            now_ms,
            access: None,
            expiry_mode: ExpiryMode::Remove,
            recorder: Recorder::default(),
        }
    }

    /// Tells slot and hash of a key in advance.
    #[inline]
    pub fn hint(&mut self, key: &KeyRef) {
        self.hint = Some((std::ptr::from_ref(key.bytes), key.hash, key.slot));
    }

    #[inline]
    fn key_ref<'b>(&self, key: &'b [u8]) -> KeyRef<'b> {
        match self.hint {
            // The hint's bytes outlive the command that it was given for.
            Some((bytes, hash, slot)) if std::ptr::eq(bytes, key) => KeyRef {
                bytes: key,
                hash,
                slot,
            },
            _ => KeyRef::new(key),
        }
    }

    /// The keyspace that this is a part of.
    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// The logical database's number.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Goes on in another logical database, which exists.
    pub fn select(&mut self, index: u32) {
        self.index = index;
        self.physical = self.keyspace.physical(index);
    }

    /// Notes an event about a key that changed; this is what makes a command
    /// enter the log. `class` is a bit of [`super::recorder::class`].
    #[inline]
    pub fn changed(&mut self, class: u32, event: &'static str, key: &[u8]) {
        self.recorder.dirty += 1;
        if self.recorder.observed {
            self.note(class, event, key, true);
        }
    }

    /// Notes an event about a key that enters no log by itself.
    pub fn event(&mut self, class: u32, event: &'static str, key: &[u8]) {
        if self.recorder.observed {
            self.note(class, event, key, false);
        }
    }

    #[cold]
    fn note(&mut self, class: u32, event: &'static str, key: &[u8], changed: bool) {
        self.recorder.changes.push(Change {
            class,
            event,
            db: self.index,
            key: key.into(),
            changed,
        });
    }

    #[inline]
    fn share(&mut self, slot: u16) -> &mut StripeDb {
        share_of(self.held.stripe(stripe_of(slot)), self.physical)
    }

    #[inline]
    fn table(&mut self, slot: u16) -> &mut Table<Entry> {
        &mut self.share(slot).tables[usize::from(slot) % SLOTS_PER_STRIPE]
    }

    // ---- reading -------------------------------------------------------

    /// Makes sure that what is known of `key` is in RAM and not expired.
    #[inline]
    fn prepare(&mut self, key: &KeyRef) -> Result<(), DbError> {
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        match share.tables[slot].find(key.hash, key.bytes) {
            Some(entry) => {
                let expired = entry.expire_at_ms().is_some_and(|at| at <= self.now_ms);
                if expired && self.expiry_mode == ExpiryMode::Remove {
                    self.remove_expired(key);
                }
                Ok(())
            }
            None if share.cold & (1 << slot) == 0 => Ok(()),
            None => self.load_cold(key),
        }
    }

    fn remove_expired(&mut self, key: &KeyRef) {
        self.detach(key, true);
        self.recorder.expired.push((self.index, key.bytes.into()));
        self.event(super::recorder::class::EXPIRED, "expired", key.bytes);
        if let Some(change) = self.recorder.changes.last_mut() {
            change.changed = true;
        }
    }

    /// Fetches a key of a cold slot from the tree.
    #[cold]
    fn load_cold(&mut self, key: &KeyRef) -> Result<(), DbError> {
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
        let value = codec::decode_payload(&payload).map_err(|e| DbError::Storage(e.to_string()))?;
        self.insert_from_tree(key, value, row.expire_at_ms);
        if row.expire_at_ms.is_some_and(|at| at <= self.now_ms)
            && self.expiry_mode == ExpiryMode::Remove
        {
            self.remove_expired(key);
        }
        Ok(())
    }

    fn insert_from_tree(&mut self, key: &KeyRef, value: Value, expire_at_ms: Option<i64>) {
        let entry = Entry::new(key.bytes, value, expire_at_ms);
        entry.set_in_tree();
        if let Some(access) = self.access {
            entry.set_access(access);
        }
        if let Some(at_ms) = expire_at_ms {
            let slot = (usize::from(key.slot) % SLOTS_PER_STRIPE) as u8;
            self.share(key.slot)
                .expiries
                .insert((at_ms, slot, key.hash));
            self.keyspace.add_expires(self.index, 1);
        }
        self.table(key.slot).insert_new(key.hash, entry);
    }

    /// The entry of a key, without counting it as an access.
    #[inline]
    pub fn peek(&mut self, key: &[u8]) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        self.peek_ref(&self.key_ref(key))
    }

    #[inline]
    fn peek_ref(&mut self, key: &KeyRef) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        self.prepare(key)?;
        let (now_ms, hide) = (self.now_ms, self.expiry_mode == ExpiryMode::Hide);
        let found = self.table(key.slot).find(key.hash, key.bytes);
        Ok(found.filter(|e| !hide || e.expire_at_ms().is_none_or(|at| at > now_ms)))
    }

    /// The entry of a key for a reading command: stamps the eviction clock
    /// and counts a hit or a miss.
    #[inline]
    pub fn lookup(&mut self, key: &[u8]) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        self.lookup_ref(&self.key_ref(key))
    }

    /// As [`Db::lookup`] for a key whose slot and hash are known.
    #[inline]
    pub fn lookup_ref(&mut self, key: &KeyRef) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        let access = self.access;
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let now_ms = self.now_ms;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        if let Some(entry) = share.tables[slot].find(key.hash, key.bytes)
            && entry.expire_at_ms().is_none_or(|at| at > now_ms)
        {
            self.recorder.hits += 1;
            if let Some(access) = access {
                entry.set_access(access);
            }
            // SAFETY: the borrow of the table lasts as long as that of self;
            // the compiler can't see that the other path returns as well.
            return Ok(Some(unsafe {
                std::mem::transmute::<Borrowed<'_, Entry>, Borrowed<'_, Entry>>(entry)
            }));
        }
        self.prepare(key)?;
        let hide = self.expiry_mode == ExpiryMode::Hide;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let found = share.tables[slot].find(key.hash, key.bytes);
        let found = found.filter(|e| !hide || e.expire_at_ms().is_none_or(|at| at > now_ms));
        match &found {
            Some(entry) => {
                self.recorder.hits += 1;
                if let Some(access) = access {
                    entry.set_access(access);
                }
            }
            None => {
                self.recorder.misses += 1;
                if self.recorder.observed {
                    self.recorder.changes.push(Change {
                        class: super::recorder::class::KEY_MISS,
                        event: "keymiss",
                        db: self.index,
                        key: key.bytes.into(),
                        changed: false,
                    });
                }
            }
        }
        Ok(found)
    }

    /// The values of several keys at once, None for those that are absent; a
    /// key may come twice.
    pub fn values(&mut self, keys: &[&[u8]]) -> Result<Values<'_>, DbError> {
        let mut values = Values::with_capacity(keys.len());
        for key in keys {
            let value = self.lookup(key)?.map(|entry| {
                let value = entry_value(&entry);
                // SAFETY: the value lies behind the entry's own address, which
                // looking up other keys doesn't change: that may load or
                // remove those, never this one again, since the clock stands
                // still. The result keeps `self` borrowed.
                unsafe { std::mem::transmute::<ValueRef<'_>, ValueRef<'_>>(value) }
            });
            values.push(value);
        }
        Ok(values)
    }

    /// Whether the key is there.
    pub fn exists(&mut self, key: &[u8]) -> Result<bool, DbError> {
        Ok(self.peek(key)?.is_some())
    }

    /// The type of the key's value.
    pub fn type_of(&mut self, key: &[u8]) -> Result<Option<ValueType>, DbError> {
        Ok(self.peek(key)?.map(|e| e.value_type()))
    }

    /// When the key expires: None when it is absent, Some(None) when it never
    /// does.
    pub fn expiry(&mut self, key: &[u8]) -> Result<Option<Option<i64>>, DbError> {
        Ok(self.peek(key)?.map(|e| e.expire_at_ms()))
    }

    /// The string under a key. Other types are [`DbError::WrongType`].
    #[inline]
    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, DbError> {
        match self.lookup(key)? {
            None => Ok(None),
            Some(entry) => match entry_value(&entry) {
                ValueRef::Int(int) => Ok(Some(StringRef::Int(int))),
                ValueRef::Bytes(bytes) => Ok(Some(StringRef::Bytes(bytes))),
                _ => Err(DbError::WrongType),
            },
        }
    }

    /// The string under a key for a command that is about to change it: no
    /// hit, miss or access is counted.
    #[inline]
    pub fn peek_string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, DbError> {
        match self.peek(key)? {
            None => Ok(None),
            Some(entry) => match entry_value(&entry) {
                ValueRef::Int(int) => Ok(Some(StringRef::Int(int))),
                ValueRef::Bytes(bytes) => Ok(Some(StringRef::Bytes(bytes))),
                _ => Err(DbError::WrongType),
            },
        }
    }

    // ---- writing -------------------------------------------------------

    /// Readies a key for a change: its frozen value is saved if a checkpoint
    /// still needs it, and it joins the changed keys.
    #[inline]
    fn before_change(&mut self, key: &KeyRef) {
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
            share.dirty.pre_images.push(row_of(&entry));
            entry.set_dirty(1 - parity, false);
            entry.set_in_tree();
        }
        if !entry.is_dirty(parity) {
            entry.set_dirty(parity, true);
            share.dirty.changed[parity].push(packed(slot, key.hash));
        }
    }

    #[inline]
    fn place(&mut self, key: &KeyRef) -> Option<Place<'_, Entry>> {
        self.table(key.slot).find_place(key.hash, key.bytes)
    }

    /// Stores an entry under a key, in place of what was there.
    fn store(&mut self, key: &KeyRef, entry: Entry) {
        let (parity, tracking, index) = (self.parity, self.tracking, self.index);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let new_expiry = entry.expire_at_ms();
        if let Some(access) = self.access {
            entry.set_access(access);
        }
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let mut old_expiry = None;
        match share.tables[slot].find_place(key.hash, key.bytes) {
            Some(mut place) => {
                let old = place.get();
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
                if tracking {
                    entry.set_dirty(parity, true);
                    share.dirty.changed[parity].push(packed(slot, key.hash));
                }
                share.tables[slot].insert_new(key.hash, entry);
                self.keyspace.add_keys(index, 1);
                self.event(super::recorder::class::NEW, "new", key.bytes);
            }
        }
        self.move_expiry(key, old_expiry, new_expiry);
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
        self.prepare(&key)?;
        if expire_at_ms.is_none() && self.overwrite(&key, value) {
            return Ok(());
        }
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
            entry.set_access(access);
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
        self.prepare(&key)?;
        self.store(&key, Entry::new(key.bytes, value, expire_at_ms));
        Ok(())
    }

    /// Removes a key; false when there was none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let key = self.key_ref(key);
        self.prepare(&key)?;
        if self.peek_ref(&key)?.is_none() && self.expiry_mode == ExpiryMode::Hide {
            return Ok(false);
        }
        Ok(self.detach(&key, false))
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
            (entry.into_value(), expiry)
        }))
    }

    /// Removes the entry and frees it.
    fn detach(&mut self, key: &KeyRef, _expired: bool) -> bool {
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
        if tracking && (entry.is_in_tree() || entry.is_dirty(1 - parity)) {
            self.share(key.slot).dirty.removed[parity].insert(key.bytes.into());
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
        let Some(mut place) = self.place(&key) else {
            return Ok(false);
        };
        let old = place.get().expire_at_ms();
        place.update(|entry| entry.with_expiry(expire_at_ms));
        self.move_expiry(&key, old, expire_at_ms);
        Ok(true)
    }

    /// The growable bytes of a string, made empty if there is no key; for
    /// APPEND, SETRANGE, SETBIT. The key's expiry stays.
    pub fn string_mut(&mut self, key: &[u8]) -> Result<&mut Vec<u8>, DbError> {
        let key = self.key_ref(key);
        match self.peek_ref(&key)?.map(|e| e.value_type()) {
            None => self.store(&key, Entry::new_string(key.bytes, b"", None)),
            Some(ValueType::String) => self.before_change(&key),
            Some(_) => return Err(DbError::WrongType),
        }
        let access = self.access;
        let mut place = self.place(&key).expect("stored or found above");
        place.update(Entry::into_big);
        if let Some(access) = access {
            place.get().set_access(access);
        }
        Ok(place
            .into_part(Entry::big_mut)
            .expect("into_big made it so"))
    }

    /// The integer under a key if the string is held as one, to change it in
    /// place (INCR); None when there is no key or it is another string.
    #[inline]
    pub fn int_mut(&mut self, key: &[u8]) -> Result<Option<&mut i64>, DbError> {
        let key = self.key_ref(key);
        match self
            .peek_ref(&key)?
            .map(|e| matches!(e.value(), ValueRef::Int(_)))
        {
            Some(true) => {}
            _ => return Ok(None),
        }
        self.before_change(&key);
        Ok(self
            .place(&key)
            .and_then(|place| place.into_part(Entry::int_mut)))
    }

    /// Removes the key if its collection is empty; true when it was.
    pub fn remove_if_empty(&mut self, key: &[u8]) -> Result<bool, DbError> {
        let key = self.key_ref(key);
        let empty = match self.peek_ref(&key)?.map(|e| is_empty(e.value())) {
            Some(empty) => empty,
            None => return Ok(false),
        };
        Ok(empty && self.detach(&key, false))
    }

    fn collection_mut<T>(
        &mut self,
        key: &[u8],
        make: Option<fn() -> Value>,
        project: fn(&mut Entry) -> Option<&mut T>,
        value_type: ValueType,
    ) -> Result<Option<&mut T>, DbError> {
        let key = self.key_ref(key);
        match (self.peek_ref(&key)?.map(|e| e.value_type()), make) {
            (Some(found), _) if found != value_type => return Err(DbError::WrongType),
            (Some(_), _) => self.before_change(&key),
            (None, None) => return Ok(None),
            (None, Some(make)) => self.store(&key, Entry::new(key.bytes, make(), None)),
        }
        let access = self.access;
        let Some(place) = self.place(&key) else {
            return Ok(None);
        };
        if let Some(access) = access {
            place.get().set_access(access);
        }
        Ok(place.into_part(project))
    }

    // ---- the whole database --------------------------------------------

    /// How many keys the database has.
    pub fn len(&self) -> u64 {
        self.keyspace.key_count(self.index)
    }

    /// Whether the database has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every key of a logical database, in no time; the memory is
    /// freed in the background. Every stripe must be held. Returns how many
    /// keys there were.
    pub fn flush(&mut self, index: u32) -> u64 {
        assert!(
            (0..STRIPES).all(|s| self.held.holds(s)),
            "a flush needs every stripe"
        );
        let keys = self.keyspace.key_count(index);
        self.keyspace.retire(index);
        self.physical = self.keyspace.physical(self.index);
        keys
    }

    /// Exchanges two logical databases. Every stripe must be held.
    pub fn swap(&mut self, one: u32, other: u32) {
        assert!(
            (0..STRIPES).all(|s| self.held.holds(s)),
            "a swap needs every stripe"
        );
        self.keyspace.swap(one, other);
        self.physical = self.keyspace.physical(self.index);
    }

    /// Visits the keys of one bucket of one slot, from `cursor` on. The
    /// cursor is `slot << 32 | position`; the slot's stripe must be held.
    /// Returns the next cursor within the slot, or None when it is done.
    /// Expired keys are not visited.
    pub fn scan_slot(
        &mut self,
        cursor: u64,
        mut f: impl FnMut(&Entry),
    ) -> Result<Option<u64>, DbError> {
        let slot = (cursor >> 32) as u16;
        self.warm_slot(slot)?;
        let (now_ms, mode) = (self.now_ms, self.expiry_mode);
        let next = self.table(slot).scan(cursor & 0xffff_ffff, |entry| {
            let expired = entry.expire_at_ms().is_some_and(|at| at <= now_ms);
            if !expired || mode == ExpiryMode::Ignore {
                f(entry);
            }
        });
        Ok((next != 0).then_some(u64::from(slot) << 32 | next))
    }

    /// How many keys of a slot are in RAM; all of them once it is warm.
    pub fn slot_len(&mut self, slot: u16) -> Result<usize, DbError> {
        self.warm_slot(slot)?;
        Ok(self.table(slot).len())
    }

    /// Whether the stripe may have keys in this database; cheap.
    pub fn stripe_may_have_keys(&mut self, stripe: usize) -> bool {
        let physical = self.physical as usize;
        match self.held.stripe(stripe).dbs.get(physical) {
            Some(Some(share)) => share.cold != 0 || share.tables.iter().any(|t| !t.is_empty()),
            _ => false,
        }
    }

    /// An even pick among a slot's keys, expired ones included.
    pub fn random_in_slot(
        &mut self,
        slot: u16,
        rng: impl FnMut() -> u64,
    ) -> Result<Option<Vec<u8>>, DbError> {
        self.warm_slot(slot)?;
        Ok(self.table(slot).random(rng).map(|e| e.key().to_vec()))
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
                for (key, value, expiry) in
                    rows_of(&snapshot, self.physical, slot, &mut cursor, 512)?
                {
                    self.offer_from_tree(&key, value, expiry);
                }
            }
        }
        self.mark_warm(slot);
        Ok(())
    }

    /// Takes a row of the tree into RAM unless RAM knows better.
    pub fn offer_from_tree(&mut self, key: &[u8], value: Value, expire_at_ms: Option<i64>) {
        let key = KeyRef::new(key);
        let known = self.table(key.slot).find(key.hash, key.bytes).is_some()
            || self.share(key.slot).dirty.is_removed(key.bytes);
        if !known {
            self.insert_from_tree(&key, value, expire_at_ms);
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

    /// Removes up to `limit` keys of a held stripe that are due, soonest
    /// first; returns how many. Nothing happens unless expired keys are to be
    /// removed at all.
    pub fn remove_due(&mut self, stripe: usize, limit: usize) -> usize {
        self.remove_due_where(stripe, limit, |_| true)
    }

    /// As [`Db::remove_due`], leaving the entries that are not `wanted`; at
    /// most `limit` of those are passed by.
    pub fn remove_due_where(
        &mut self,
        stripe: usize,
        limit: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> usize {
        let (mut removed, mut passed) = (0, 0);
        let mut from = Bound::Unbounded;
        let first_slot = stripe * SLOTS_PER_STRIPE;
        while removed < limit && passed < limit && self.expiry_mode == ExpiryMode::Remove {
            let (now_ms, physical) = (self.now_ms, self.physical as usize);
            let Some(Some(share)) = self.held.stripe(stripe).dbs.get_mut(physical) else {
                break;
            };
            let next = share.expiries.range((from, Bound::Unbounded)).next();
            let Some(&(at_ms, slot, hash)) = next else {
                break;
            };
            if at_ms > now_ms {
                break;
            }
            let (mut due, mut kept) = (Vec::new(), false);
            share.tables[usize::from(slot)].with_hash(hash, |entry| {
                if entry.expire_at_ms() == Some(at_ms) {
                    match wanted(entry) {
                        true => due.push(entry.key().to_vec()),
                        false => kept = true,
                    }
                }
            });
            if kept {
                from = Bound::Excluded((at_ms, slot, hash));
                passed += 1;
            } else {
                share.expiries.remove(&(at_ms, slot, hash));
            }
            for key in due {
                let key = KeyRef::new(&key);
                debug_assert_eq!(usize::from(key.slot), first_slot + usize::from(slot));
                // The others with this hash and moment go with it, and their
                // own place in the index is found empty later.
                self.remove_expired(&key);
                removed += 1;
            }
        }
        removed
    }
}

/// One typed family of accessors.
macro_rules! typed {
    ($read:ident, $change:ident, $make:ident, $type:ident, $project:ident) => {
        impl Db<'_> {
            #[doc = concat!("The ", stringify!($type), " under a key; another type is an error.")]
            #[inline]
            pub fn $read(&mut self, key: &[u8]) -> Result<Option<&$type>, DbError> {
                match self.lookup(key)? {
                    None => Ok(None),
                    Some(entry) => match entry_value(&entry) {
                        ValueRef::$type(value) => Ok(Some(value)),
                        _ => Err(DbError::WrongType),
                    },
                }
            }

            #[doc = concat!("The ", stringify!($type), " under a key, to change it.")]
            #[doc = "Call `remove_if_empty` when elements were taken out."]
            #[inline]
            pub fn $change(&mut self, key: &[u8]) -> Result<Option<&mut $type>, DbError> {
                self.collection_mut(key, None, Entry::$project, ValueType::$type)
            }

            #[doc = concat!("The ", stringify!($type), " under a key, made if there is none.")]
            #[doc = "The caller puts something into it."]
            #[inline]
            pub fn $make(&mut self, key: &[u8]) -> Result<&mut $type, DbError> {
                let make: fn() -> Value = || Value::$type($type::new());
                self.collection_mut(key, Some(make), Entry::$project, ValueType::$type)
                    .map(|found| found.expect("it was made"))
            }
        }
    };
}

typed!(list, list_mut, list_or_new, List, list_mut);
typed!(set, set_mut, set_or_new, Set, set_mut);
typed!(hash, hash_mut, hash_or_new, Hash, hash_mut);
typed!(zset, zset_mut, zset_or_new, ZSet, zset_mut);

/// The values of several keys, see [`Db::values`].
pub type Values<'a> = smallvec::SmallVec<[Option<ValueRef<'a>>; 8]>;

/// A string value.
#[derive(Clone, Copy)]
pub enum StringRef<'a> {
    /// Held as an integer.
    Int(i64),
    /// Held as bytes.
    Bytes(&'a [u8]),
}

impl StringRef<'_> {
    /// The string's bytes; an integer is written into `buffer`.
    pub fn bytes<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            StringRef::Int(int) => buffer.format(*int).as_bytes(),
            StringRef::Bytes(bytes) => bytes,
        }
    }

    /// The string's bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// The string's length in bytes.
    pub fn len(&self) -> usize {
        self.bytes(&mut itoa::Buffer::new()).len()
    }

    /// Whether the string is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The value behind a borrowed entry, with the table's lifetime.
#[inline]
fn entry_value<'a>(entry: &Borrowed<'a, Entry>) -> ValueRef<'a> {
    // SAFETY: the value lies behind the entry's thin pointer, which the table
    // keeps for 'a; `Borrowed` itself is only a copy of that pointer.
    unsafe { std::mem::transmute::<ValueRef<'_>, ValueRef<'a>>(entry.value()) }
}

fn is_empty(value: ValueRef) -> bool {
    match value {
        ValueRef::Int(_) | ValueRef::Bytes(_) => false,
        ValueRef::List(list) => list.is_empty(),
        ValueRef::Set(set) => set.is_empty(),
        ValueRef::Hash(hash) => hash.is_empty(),
        ValueRef::ZSet(zset) => zset.is_empty(),
    }
}

/// The row that the tree would hold for an entry as it is now.
pub(crate) fn row_of(entry: &Entry) -> PreImage {
    let mut payload = Vec::new();
    codec::encode_payload(entry.value(), &mut payload);
    PreImage::Row {
        key: entry.key().into(),
        expire_at_ms: entry.expire_at_ms(),
        payload,
    }
}

/// A row read back: key, value, expiry.
pub type LoadedRow = (Vec<u8>, Value, Option<i64>);

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
    let mut visit = |row: ScanRow<'_>| match codec::decode_payload(row.payload) {
        Ok(value) => {
            rows.push((row.key.to_vec(), value, row.expire_at_ms));
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
