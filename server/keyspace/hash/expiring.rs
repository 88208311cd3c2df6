//! Hashes of which some fields expire by themselves, and what all hashes know
//! of that.
//!
//! A hash becomes one when its first field gets an expiry, and a plain table
//! again when its last expiry is gone, so that other hashes pay nothing.
//!
//! On a primary, fields that are due are removed before a command sees the
//! hash; a replica, which removes nothing by itself, hides them instead.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::{Hash, table_memory_bytes};
use crate::keyspace::element::Field;
use crate::keyspace::listpack::Entry;
use crate::keyspace::pieces::Tracked;
use crate::keyspace::table::{self, Table, hash_bytes};

/// Nothing is hidden.
const SHOW_ALL: i64 = i64::MIN;
/// Bytes that an entry of the index takes, about.
const INDEXED_BYTES: usize = 24;

/// The fields of a hash of which at least one expires.
pub struct Expiring {
    table: Tracked<Field>,
    /// Fields with an expiry, soonest first: (Unix ms, hash of the field).
    order: BTreeSet<(i64, u64)>,
    /// Fields that expire up to this moment are not shown.
    hidden_until_ms: Cell<i64>,
}

impl Expiring {
    fn new(table: Table<Field>) -> Expiring {
        Expiring {
            table: table.into(),
            order: BTreeSet::new(),
            hidden_until_ms: Cell::new(SHOW_ALL),
        }
    }

    pub(super) fn tracked(&self) -> &Tracked<Field> {
        &self.table
    }

    fn shows(&self, field: &Field) -> bool {
        let hidden_until_ms = self.hidden_until_ms.get();
        field.expire_at_ms().is_none_or(|at| at > hidden_until_ms)
    }

    /// Fields that are shown.
    pub(super) fn len(&self) -> usize {
        let hidden = match self.hidden_until_ms.get() {
            SHOW_ALL => 0,
            until_ms => self.order.range(..=(until_ms, u64::MAX)).count(),
        };
        self.table.len() - hidden
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let index = size_of::<Self>() - size_of::<Tracked<Field>>();
        table_memory_bytes(&self.table) + index + self.order.len() * INDEXED_BYTES
    }

    pub(super) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        let element = self.table.find(hash_bytes(field), field)?;
        self.shows(&element).then(|| element.get(Field::value))
    }

    /// The expiry of a field that is shown.
    fn expiry(&self, field: &[u8]) -> Option<Option<i64>> {
        let element = self.table.find(hash_bytes(field), field)?;
        self.shows(&element).then(|| element.expire_at_ms())
    }

    /// Gives a field a value and an expiry or none; whether it is new.
    pub(super) fn set(&mut self, field: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> bool {
        let hash = hash_bytes(field);
        let old = match self.table.find_place(hash, field) {
            None => {
                let element = Field::expiring(field, value, expire_at_ms);
                self.table.insert_new(hash, element);
                None
            }
            Some(mut place) => {
                let old = place.get().expire_at_ms();
                place.update(|element| element.with_expiry(expire_at_ms).with_value(value));
                Some(old)
            }
        };
        self.move_in_order(hash, old.flatten(), expire_at_ms);
        old.is_none()
    }

    fn set_expiry(&mut self, field: &[u8], expire_at_ms: Option<i64>) {
        let hash = hash_bytes(field);
        let Some(mut place) = self.table.find_place(hash, field) else {
            return;
        };
        let old = place.get().expire_at_ms();
        place.update(|element| element.with_expiry(expire_at_ms));
        self.move_in_order(hash, old, expire_at_ms);
    }

    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        let hash = hash_bytes(field);
        let Some(element) = self.table.remove(hash, field) else {
            return false;
        };
        self.move_in_order(hash, element.expire_at_ms(), None);
        true
    }

    fn move_in_order(&mut self, hash: u64, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        if let Some(at_ms) = old {
            self.order.remove(&(at_ms, hash));
        }
        if let Some(at_ms) = new {
            self.order.insert((at_ms, hash));
        }
    }

    /// Removes up to `limit` fields that are due, soonest first.
    fn take_due(&mut self, now_ms: i64, limit: usize) -> Vec<Box<[u8]>> {
        let mut taken: Vec<Box<[u8]>> = Vec::new();
        while taken.len() < limit
            && let Some(&(at_ms, hash)) = self.order.first()
            && at_ms <= now_ms
        {
            self.order.pop_first();
            let first = taken.len();
            self.table.with_hash(hash, |field| {
                if field.expire_at_ms() == Some(at_ms) && hash_bytes(field.name()) == hash {
                    taken.push(field.name().into());
                }
            });
            for name in &taken[first..] {
                self.table.remove(hash, name);
            }
        }
        taken
    }

    /// The fields that are shown, with their values.
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown {
            elements: self.table.iter(),
            hidden_until_ms: self.hidden_until_ms.get(),
        }
    }

    /// A field that is shown, picked at random.
    pub(super) fn random(&self, mut rng: impl FnMut() -> u64) -> Option<(Entry<'_>, Entry<'_>)> {
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let element = self.table.random(&mut rng)?;
            if self.shows(&element) {
                let name = element.get(Field::name);
                return Some((Entry::Str(name), Entry::Str(element.get(Field::value))));
            }
        }
        self.shown().next()
    }

    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(Entry<'_>, Entry<'_>)) -> u64 {
        self.table.scan(cursor, |element| {
            if self.shows(element) {
                visit(Entry::Str(element.name()), Entry::Str(element.value()));
            }
        })
    }
}

/// The fields that are shown, with their values.
pub struct Shown<'a> {
    elements: table::Iter<'a, Field>,
    hidden_until_ms: i64,
}

impl<'a> Iterator for Shown<'a> {
    type Item = (Entry<'a>, Entry<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let element = self.elements.next()?;
            let expiry = element.expire_at_ms();
            if expiry.is_none_or(|at| at > self.hidden_until_ms) {
                let name = element.get(Field::name);
                return Some((Entry::Str(name), Entry::Str(element.get(Field::value))));
            }
        }
    }
}

/// A field, its value, and when it expires in Unix milliseconds.
pub type FieldWithExpiry<'a> = (&'a [u8], &'a [u8], Option<i64>);

impl Hash {
    /// Whether some field expires.
    #[inline]
    pub fn has_expiries(&self) -> bool {
        matches!(self, Hash::Expiring(_))
    }

    /// When a field expires in Unix milliseconds: None when there is no such
    /// field, Some(None) when it never does.
    pub fn expiry(&self, field: &[u8]) -> Option<Option<i64>> {
        match self {
            Hash::Expiring(fields) => fields.expiry(field),
            _ => self.contains(field).then_some(None),
        }
    }

    /// Gives a field that is there an expiry, or takes it away.
    pub fn set_expiry(&mut self, field: &[u8], expire_at_ms: Option<i64>) {
        if expire_at_ms.is_none() && !self.has_expiries() {
            return;
        }
        self.make_expiring().set_expiry(field, expire_at_ms);
        self.settle();
    }

    /// Gives a field a value and an expiry or none; whether it is new.
    pub fn set_expiring(&mut self, field: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> bool {
        if expire_at_ms.is_none() {
            return self.set(field, value);
        }
        self.make_expiring().set(field, value, expire_at_ms)
    }

    /// Gives a field a value and leaves its expiry; whether it is new.
    pub fn set_keeping_expiry(&mut self, field: &[u8], value: &[u8]) -> bool {
        let expire_at_ms = self.expiry(field).flatten();
        self.set_expiring(field, value, expire_at_ms)
    }

    /// When the first field expires, in Unix milliseconds.
    pub fn next_expiry_ms(&self) -> Option<i64> {
        match self {
            Hash::Expiring(fields) => fields.order.first().map(|&(at_ms, _)| at_ms),
            _ => None,
        }
    }

    /// Hides the fields that expire up to a moment, or shows all. Only the
    /// holder of the stripe's lock may call this.
    pub fn hide_until(&self, until_ms: Option<i64>) {
        if let Hash::Expiring(fields) = self {
            fields.hidden_until_ms.set(until_ms.unwrap_or(SHOW_ALL));
        }
    }

    /// Removes up to `limit` fields that are due, soonest first; their names.
    pub fn take_due(&mut self, now_ms: i64, limit: usize) -> Vec<Box<[u8]>> {
        let Hash::Expiring(fields) = self else {
            return Vec::new();
        };
        let taken = fields.take_due(now_ms, limit);
        self.settle();
        taken
    }

    /// All fields with their expiry, hidden ones included, and how many there
    /// are; None unless some field expires.
    pub fn with_expiries(&self) -> Option<(usize, impl Iterator<Item = FieldWithExpiry<'_>>)> {
        let Hash::Expiring(fields) = self else {
            return None;
        };
        let all = fields.table.iter().map(|element| {
            let (name, value) = (element.get(Field::name), element.get(Field::value));
            (name, value, element.expire_at_ms())
        });
        Some((fields.table.len(), all))
    }

    fn make_expiring(&mut self) -> &mut Expiring {
        if !self.has_expiries() {
            let table = self.make_table().take();
            *self = Hash::Expiring(Box::new(Expiring::new(table)));
        }
        match self {
            Hash::Expiring(fields) => fields,
            _ => unreachable!("it was converted above"),
        }
    }

    /// Makes a plain table of a hash without expiries.
    pub(super) fn settle(&mut self) {
        if let Hash::Expiring(fields) = self
            && fields.order.is_empty()
        {
            *self = Hash::Table(Box::new(fields.table.take().into()));
        }
    }
}
