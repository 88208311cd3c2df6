//! Fields of hashes that expire: removed when a command finds them, or when
//! the clockwork does.

use super::{Db, ExpiryMode};
use crate::keyspace::KeyRef;
use crate::keyspace::entry::{Entry, ValueRef};
use crate::keyspace::hash::Hash;
use crate::keyspace::recorder::{Expired, class};
use crate::keyspace::stripe::SLOTS_PER_STRIPE;

/// Fields that a command removes at most which only looks at a hash; the rest
/// is hidden from it.
const FIELDS_PER_LOOK: usize = 256;

/// The hash in an entry, if some field of it expires.
fn expiring(entry: &Entry) -> Option<&Hash> {
    match entry.value() {
        ValueRef::Hash(hash) if hash.has_expiries() => Some(hash),
        _ => None,
    }
}

impl Db<'_> {
    /// Readies a hash for a command: the fields that are due are removed or
    /// hidden, or shown, as the mode says. Any other key is left alone.
    #[cold]
    pub(super) fn settle_fields(&mut self, key: &KeyRef) {
        let (now_ms, mode) = (self.now_ms, self.expiry_mode);
        let found = self.table(key.slot).find(key.hash, key.bytes);
        let Some(hash) = found.as_deref().and_then(expiring) else {
            return;
        };
        let is_due = hash.next_expiry_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if !is_due || mode == ExpiryMode::Ignore {
            hash.hide_until(None);
        } else if mode == ExpiryMode::Hide {
            hash.hide_until(Some(now_ms));
        } else if self.remove_fields(key, FIELDS_PER_LOOK) == FIELDS_PER_LOOK {
            // The clockwork takes the others.
            let found = self.table(key.slot).find(key.hash, key.bytes);
            if let Some(hash) = found.as_deref().and_then(expiring) {
                hash.hide_until(Some(now_ms));
            }
        }
    }

    /// Removes the fields of a hash that are due before a command changes it:
    /// what it does must not depend on fields that are only hidden.
    #[cold]
    pub(super) fn remove_hidden_fields(&mut self, key: &KeyRef) {
        if self.expiry_mode == ExpiryMode::Remove {
            self.remove_fields(key, usize::MAX);
        }
    }

    /// Removes up to `limit` fields of a hash that are due, and the key when
    /// none are left; returns how many fields.
    fn remove_fields(&mut self, key: &KeyRef, limit: usize) -> usize {
        self.before_change(key);
        let now_ms = self.now_ms;
        let hash = self.place(key).and_then(|p| p.into_part(Entry::hash_mut));
        let Some(hash) = hash else { return 0 };
        hash.hide_until(None);
        let fields = hash.take_due(now_ms, limit);
        let is_empty = hash.is_empty();
        let count = fields.len();
        if count == 0 {
            return 0;
        }
        self.keyspace.count_expired_fields(count as u64);
        self.recorder.expired.push(Expired {
            db: self.index,
            key: key.bytes.into(),
            fields,
        });
        self.event(class::HASH, "hexpired", key.bytes);
        if let Some(change) = self.recorder.changes.last_mut() {
            change.changed = true;
        }
        if is_empty {
            self.detach(key);
            self.event(class::GENERIC, "del", key.bytes);
        }
        count
    }

    /// Has the fields of a hash expire in time. Call it after fields were
    /// given an expiry.
    pub fn schedule_fields(&mut self, key: &[u8]) {
        self.schedule_fields_of(&self.key_ref(key));
    }

    /// The same for a hash that may have just come under this key.
    #[cold]
    pub(super) fn schedule_fields_of(&mut self, key: &KeyRef) {
        let found = self.table(key.slot).find(key.hash, key.bytes);
        let hash = found.as_deref().and_then(expiring);
        let Some(at_ms) = hash.and_then(Hash::next_expiry_ms) else {
            return;
        };
        let slot = (usize::from(key.slot) % SLOTS_PER_STRIPE) as u8;
        let expiries = &mut self.share(key.slot).field_expiries;
        expiries.schedule(slot, key.hash, at_ms);
        self.keyspace.note_field_expiries();
    }

    /// Removes about `limit` fields that are due from the hashes of a held
    /// stripe; returns how many, and `limit` when more may be due. Nothing
    /// happens unless what has expired is to be removed at all.
    pub fn remove_due_fields(&mut self, stripe: usize, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit && self.expiry_mode == ExpiryMode::Remove {
            let (now_ms, physical) = (self.now_ms, self.physical as usize);
            let Some(Some(share)) = self.held.stripe(stripe).dbs.get_mut(physical) else {
                break;
            };
            let Some((slot, hash)) = share.field_expiries.pop_due(now_ms) else {
                break;
            };
            let mut keys = Vec::new();
            share.tables[usize::from(slot)].with_hash(hash, |entry| {
                if entry.has_expiring_fields() {
                    keys.push(entry.key().to_vec());
                }
            });
            for key in keys {
                let key = KeyRef::new(&key);
                removed += self.remove_fields(&key, limit - removed.min(limit));
                self.schedule_fields_of(&key);
            }
        }
        removed.min(limit)
    }
}
