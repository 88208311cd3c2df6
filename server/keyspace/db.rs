//! What commands call: one database, under the locks that the dispatcher took
//! for the command's keys.
//!
//! Every method that changes something keeps the sets of changed keys, the
//! expiry index and the counts right, and notes what happened in the
//! [`Recorder`]. A command never does any of this by hand; it only names the
//! event (`changed`).

mod change;
mod cold;
mod evict;
mod fields;
mod spill;
mod typed;
mod walk;

use super::entry::{Entry, ValueRef, ValueType};
use super::recorder::{Change, Expired, Recorder};
use super::stripe::{Held, SLOTS_PER_STRIPE, StripeDb, StripeSet, stripe_of};
use super::table::{Borrowed, Table};
use super::{KeyRef, Keyspace, share_of};

pub use cold::{SlotRows, rows_of};
pub(super) use spill::spill_entry;
pub use spill::{ReadValue, read_value};
pub use typed::{PlainString, StringRef};

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
    /// The eviction clock of keys that are made, if `access` is None.
    pub birth: Option<u32>,
    /// What becomes of expired keys.
    pub expiry_mode: ExpiryMode,
    /// What was done.
    pub recorder: Recorder,
}

impl<'k> Db<'k> {
    /// Locks `stripes` and opens logical database `index`, which exists.
    #[inline]
    pub fn open(keyspace: &'k Keyspace, stripes: StripeSet, index: u32, now_ms: i64) -> Db<'k> {
        Db::holding(keyspace, keyspace.lock(stripes), index, now_ms)
    }

    /// As [`Db::open`], with stripes that are locked already.
    #[inline]
    pub fn holding(keyspace: &'k Keyspace, held: Held<'k>, index: u32, now_ms: i64) -> Db<'k> {
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
            birth: None,
            expiry_mode: ExpiryMode::Remove,
            recorder: Recorder::default(),
        }
    }

    /// Locks the stripe of one key, having held none. Where another has it
    /// `wait` says whether to wait on; false if it is not locked.
    #[inline]
    pub fn enter(&mut self, key: &KeyRef, wait: impl Fn() -> bool) -> bool {
        let stripe = key.stripe();
        if !self.held.try_enter(stripe) && !self.held.enter_while(stripe, wait) {
            return false;
        }
        self.look_anew();
        self.hint(key);
        true
    }

    /// Takes note of what changes only while every stripe is locked: whoever
    /// holds one knows it until he gives it back.
    #[inline]
    fn look_anew(&mut self) {
        self.physical = self.keyspace.physical(self.index);
        self.parity = self.keyspace.parity();
        self.tracking = self.keyspace.is_tracking();
    }

    /// Unlocks the stripe that `enter` locked.
    #[inline]
    pub fn leave(&mut self) {
        self.held.leave();
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

    /// Whether any stripe is locked.
    pub fn holds_any(&self) -> bool {
        self.held.holds_any()
    }

    /// Whether the stripe of a key is locked, so that the key may be touched.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.held.holds(self.key_ref(key).stripe())
    }

    /// The logical database's number.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Locks a further stripe, or the first, see [`Held::extend`].
    pub fn extend(&mut self, stripe: usize, patience: std::time::Duration) -> bool {
        let first = !self.held.holds_any();
        let locked = self.held.extend(stripe, patience);
        if first && locked {
            self.look_anew();
        }
        locked
    }

    /// The stripes that are held.
    pub fn held(&self) -> StripeSet {
        self.held.set()
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

    /// Counts a change of what belongs to a key, as a stream's groups do, with its
    /// event. Who watches or tracks the key is not told. Source: Valkey.
    pub fn changed_beside(&mut self, class: u32, event: &'static str, key: &[u8]) {
        self.recorder.dirty += 1;
        self.event(class, event, key);
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

    /// Makes sure that what is known of `key` is in RAM and not expired.
    #[inline]
    fn prepare(&mut self, key: &KeyRef) -> Result<(), DbError> {
        self.prepare_key(key, true)
    }

    /// As [`Db::prepare`]; the value need only be there if `with_value`.
    #[inline]
    fn prepare_key(&mut self, key: &KeyRef, with_value: bool) -> Result<(), DbError> {
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        match share.tables[slot].find(key.hash, key.bytes) {
            Some(entry) => {
                let expired = entry.expire_at_ms().is_some_and(|at| at <= self.now_ms);
                let has_expiring_fields = entry.has_expiring_fields();
                if expired && self.expiry_mode == ExpiryMode::Remove {
                    self.remove_expired(key);
                } else if with_value && entry.is_cold() {
                    self.reload(key)?;
                    self.settle_fields(key);
                } else if has_expiring_fields {
                    self.settle_fields(key);
                }
                Ok(())
            }
            None if share.cold & (1 << slot) == 0 => Ok(()),
            None => self.load_cold(key, with_value),
        }
    }

    fn remove_expired(&mut self, key: &KeyRef) {
        self.detach(key);
        self.recorder.expired.push(Expired {
            db: self.index,
            key: key.bytes.into(),
            fields: Vec::new(),
        });
        self.event(super::recorder::class::EXPIRED, "expired", key.bytes);
        if let Some(change) = self.recorder.changes.last_mut() {
            change.changed = true;
        }
    }

    /// The entry of a key, without counting it as an access.
    #[inline]
    pub fn peek(&mut self, key: &[u8]) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        self.peek_ref(&self.key_ref(key))
    }

    #[inline]
    fn peek_ref(&mut self, key: &KeyRef) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        self.prepare(key)?;
        self.prepared_ref(key)
    }

    /// The entry of a key, perhaps without its value.
    #[inline]
    fn presence(&mut self, key: &[u8]) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        let key = self.key_ref(key);
        self.prepare_key(&key, false)?;
        self.prepared_ref(&key)
    }

    /// As [`Db::presence`], of which more than the key is known.
    fn described(&mut self, key: &[u8]) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        let key = self.key_ref(key);
        self.prepare_key(&key, false)?;
        if self.is_unreadable(&key) {
            self.reload(&key)?;
        }
        self.prepared_ref(&key)
    }

    #[inline]
    fn prepared_ref(&mut self, key: &KeyRef) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
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
        match share.tables[slot].find(key.hash, key.bytes) {
            Some(entry)
                if entry.expire_at_ms().is_none_or(|at| at > now_ms)
                    && !entry.is_cold()
                    && !entry.has_expiring_fields() =>
            {
                self.recorder.hits += 1;
                if let Some(access) = access {
                    entry.touch(access);
                }
                // SAFETY: the borrow of the table lasts as long as that of self;
                // the compiler can't see that the other paths do without.
                Ok(Some(unsafe {
                    std::mem::transmute::<Borrowed<'_, Entry>, Borrowed<'_, Entry>>(entry)
                }))
            }
            None if share.cold & (1 << slot) == 0 => {
                self.recorder.miss(self.index, key.bytes);
                Ok(None)
            }
            _ => self.lookup_prepared(key, slot),
        }
    }

    /// As [`Db::lookup_ref`] where a key may be in the tree, or expired.
    #[cold]
    fn lookup_prepared(
        &mut self,
        key: &KeyRef,
        slot: usize,
    ) -> Result<Option<Borrowed<'_, Entry>>, DbError> {
        let (access, now_ms) = (self.access, self.now_ms);
        self.prepare(key)?;
        let hide = self.expiry_mode == ExpiryMode::Hide;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let found = share.tables[slot].find(key.hash, key.bytes);
        let found = found.filter(|e| !hide || e.expire_at_ms().is_none_or(|at| at > now_ms));
        match &found {
            Some(entry) => {
                self.recorder.hits += 1;
                if let Some(access) = access {
                    entry.touch(access);
                }
            }
            None => self.recorder.miss(self.index, key.bytes),
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
        Ok(self.presence(key)?.is_some())
    }

    /// The type of the key's value.
    pub fn type_of(&mut self, key: &[u8]) -> Result<Option<ValueType>, DbError> {
        Ok(self.described(key)?.map(|e| e.value_type()))
    }

    /// When the key expires: None when it is absent, Some(None) when it never
    /// does.
    pub fn expiry(&mut self, key: &[u8]) -> Result<Option<Option<i64>>, DbError> {
        Ok(self.described(key)?.map(|e| e.expire_at_ms()))
    }
}

/// The values of several keys, see [`Db::values`].
pub type Values<'a> = smallvec::SmallVec<[Option<ValueRef<'a>>; 8]>;

/// The value behind a borrowed entry, with the table's lifetime.
#[inline]
fn entry_value<'a>(entry: &Borrowed<'a, Entry>) -> ValueRef<'a> {
    // SAFETY: the value lies behind the entry's thin pointer, which the table
    // keeps for 'a; `Borrowed` itself is only a copy of that pointer.
    unsafe { std::mem::transmute::<ValueRef<'_>, ValueRef<'a>>(entry.value()) }
}
