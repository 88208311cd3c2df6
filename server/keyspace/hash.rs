//! The hash type: a listpack `field, value, field, value …` while it is small,
//! a table above that, and a table with an index by expiry while some field
//! expires.

pub mod expiring;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;

use self::expiring::Expiring;
use super::element::{Field, estimate_total};
use super::limits::LIMITS;
use super::listpack::{self, Entry, IntBuffer, Listpack, Needle};
use super::pieces::Tracked;
use super::table::{self, Table, hash_bytes};

/// A hash value.
pub enum Hash {
    Packed(Listpack),
    Table(Box<Tracked<Field>>),
    Expiring(Box<Expiring>),
}

// An entry has room for this much.
const _: () = assert!(size_of::<Hash>() <= 16);

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// A hash from the listpack of an RDB image; `None` when it is malformed
    /// or a field comes twice.
    pub fn from_listpack_bytes(bytes: &[u8]) -> Option<Self> {
        let listpack = Listpack::from_bytes(bytes)?;
        let mut hash = Self::new();
        let mut entries = listpack.iter();
        let mut buffers = (IntBuffer::new(), IntBuffer::new());
        while let Some(field) = entries.next() {
            let value = entries.next()?.bytes(&mut buffers.1);
            if !hash.set(field.bytes(&mut buffers.0), value) {
                return None;
            }
        }
        Some(hash)
    }

    /// The listpack of a small hash, as an RDB image holds it.
    pub fn packed_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(listpack) => Some(listpack.as_bytes()),
            Self::Table(_) | Self::Expiring(_) => None,
        }
    }

    /// OBJECT ENCODING's answer.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Table(_) | Self::Expiring(_) => "hashtable",
        }
    }

    /// Fields.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len() / 2,
            Self::Table(table) => table.len(),
            Self::Expiring(fields) => fields.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken from the allocator; the fields of a table are estimated
    /// from some of them.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.memory_bytes(),
            Self::Table(table) => table_memory_bytes(table),
            Self::Expiring(fields) => fields.memory_bytes(),
        }
    }

    /// Converts a hash that is about to be given `count` fields at once, with
    /// fields and values of up to `longest` bytes.
    pub fn prepare(&mut self, count: usize, longest: usize) {
        if matches!(self, Self::Packed(_))
            && (count > LIMITS.hash_max_listpack_entries.load(Relaxed)
                || longest > LIMITS.hash_max_listpack_value.load(Relaxed))
        {
            self.make_table();
        }
    }

    /// The table, made of a listpack if need be. A hash with fields that
    /// expire is none of the two.
    fn make_table(&mut self) -> &mut Tracked<Field> {
        if let Self::Packed(listpack) = self {
            let mut table = Table::new();
            let mut buffers = (IntBuffer::new(), IntBuffer::new());
            let mut entries = listpack.iter();
            while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
                let field = field.bytes(&mut buffers.0);
                let value = value.bytes(&mut buffers.1);
                table.insert_new(hash_bytes(field), Field::new(field, value));
            }
            *self = Self::Table(Box::new(table.into()));
        }
        match self {
            Self::Table(table) => table,
            Self::Packed(_) | Self::Expiring(_) => unreachable!("it was converted above"),
        }
    }

    /// The table of a hash that is no listpack.
    pub(super) fn tracked(&self) -> Option<&Tracked<Field>> {
        match self {
            Self::Packed(_) => None,
            Self::Table(table) => Some(table),
            Self::Expiring(fields) => Some(fields.tracked()),
        }
    }

    /// A field's value.
    pub fn get(&self, field: &[u8]) -> Option<Entry<'_>> {
        match self {
            Self::Packed(listpack) => {
                let at = find_packed(listpack, &Needle::new(field))?;
                listpack.get(listpack.next(at))
            }
            Self::Table(table) => {
                let element = table.find(hash_bytes(field), field)?;
                Some(Entry::Str(element.get(Field::value)))
            }
            Self::Expiring(fields) => fields.get(field).map(Entry::Str),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match self {
            Self::Packed(listpack) => find_packed(listpack, &Needle::new(field)).is_some(),
            Self::Table(table) => table.find(hash_bytes(field), field).is_some(),
            Self::Expiring(fields) => fields.get(field).is_some(),
        }
    }

    /// Bytes of a field's value as a string.
    pub fn value_len(&self, field: &[u8]) -> Option<usize> {
        self.get(field).map(Entry::byte_len)
    }

    /// Gives a field a value, and no expiry; whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let listpack = match self {
            Self::Packed(listpack) => listpack,
            Self::Table(table) => return set_in_table(table, field, value),
            Self::Expiring(fields) => {
                let new = fields.set(field, value, None);
                self.settle();
                return new;
            }
        };
        let longest = LIMITS.hash_max_listpack_value.load(Relaxed);
        if field.len().max(value.len()) > longest
            || !listpack.has_room_for(field.len() + value.len() + 32)
        {
            return set_in_table(self.make_table(), field, value);
        }
        let needle = Needle::new(field);
        if let Some(at) = find_packed(listpack, &needle) {
            listpack.replace(listpack.next(at), Entry::of(value));
            return false;
        }
        listpack.insert(listpack.end(), &[needle.entry(), Entry::of(value)]);
        if listpack.len() / 2 > LIMITS.hash_max_listpack_entries.load(Relaxed) {
            self.make_table();
        }
        true
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Packed(listpack) => {
                let found = find_packed(listpack, &Needle::new(field));
                found.is_some_and(|at| listpack.delete(at, 2) == 2)
            }
            Self::Table(table) => table.remove(hash_bytes(field), field).is_some(),
            Self::Expiring(fields) => {
                let removed = fields.remove(field);
                self.settle();
                removed
            }
        }
    }

    /// All fields with their values.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Packed(listpack) => Iter::Packed(listpack.iter()),
            Self::Table(table) => Iter::Table(table.iter()),
            Self::Expiring(fields) => Iter::Expiring(fields.shown()),
        }
    }

    /// A field picked at random, with its value.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<(Entry<'_>, Entry<'_>)> {
        match self {
            Self::Packed(listpack) => {
                let index = (rng() % self.len().max(1) as u64) as usize;
                let at = listpack.seek(2 * index)?;
                Some((listpack.get(at)?, listpack.get(listpack.next(at))?))
            }
            Self::Table(table) => {
                let element = table.random(rng)?;
                let name = element.get(Field::name);
                Some((Entry::Str(name), Entry::Str(element.get(Field::value))))
            }
            Self::Expiring(fields) => fields.random(rng),
        }
    }

    /// Visits some fields and returns the cursor to go on with, 0 at the end;
    /// see [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Entry<'_>, Entry<'_>)) -> u64 {
        match self {
            Self::Packed(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Self::Table(table) => table.scan(cursor, |element| {
                visit(Entry::Str(element.name()), Entry::Str(element.value()));
            }),
            Self::Expiring(fields) => fields.scan(cursor, visit),
        }
    }
}

/// Bytes taken from the allocator; the fields are estimated from some of them.
fn table_memory_bytes(table: &Table<Field>) -> usize {
    let sample = table.iter().map(|field| field.memory_bytes());
    let fields = estimate_total(sample, table.len());
    size_of::<Tracked<Field>>() + table.memory_bytes() + fields
}

fn find_packed(listpack: &Listpack, field: &Needle<'_>) -> Option<usize> {
    listpack.find(listpack.first(), field, 1)
}

fn set_in_table(table: &mut Tracked<Field>, field: &[u8], value: &[u8]) -> bool {
    let hash = hash_bytes(field);
    match table.find_place(hash, field) {
        Some(mut place) => {
            place.update(|element| element.with_value(value));
            false
        }
        None => {
            table.insert_new(hash, Field::new(field, value));
            true
        }
    }
}

/// A hash's fields with their values.
pub enum Iter<'a> {
    Packed(listpack::Iter<'a>),
    Table(table::Iter<'a, Field>),
    Expiring(#[allow(private_interfaces)] expiring::Shown<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Entry<'a>, Entry<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(entries) => Some((entries.next()?, entries.next()?)),
            Self::Table(elements) => {
                let element = elements.next()?;
                let name = element.get(Field::name);
                Some((Entry::Str(name), Entry::Str(element.get(Field::value))))
            }
            Self::Expiring(fields) => fields.next(),
        }
    }
}
