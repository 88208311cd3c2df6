//! Access by the type of the value; another type is [`DbError::WrongType`].

use super::{Db, DbError, entry_value};
use crate::keyspace::entry::{Entry, Value, ValueRef, ValueType};
use crate::keyspace::hash::Hash;
use crate::keyspace::list::List;
use crate::keyspace::set::Set;
use crate::keyspace::stream::Stream;
use crate::keyspace::stripe::SLOTS_PER_STRIPE;
use crate::keyspace::zset::ZSet;
use crate::keyspace::{KeyRef, share_of};

impl Db<'_> {
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

    /// The string under a key whose stripe is locked, if it is in RAM, has not expired
    /// and is at most `longest` bytes long: then it counts as an access and a hit.
    #[inline]
    pub fn plain_string(&mut self, key: &KeyRef, longest: usize) -> PlainString<'_> {
        let (access, now_ms) = (self.access, self.now_ms);
        let slot = usize::from(key.slot) % SLOTS_PER_STRIPE;
        let share = share_of(self.held.stripe(key.stripe()), self.physical);
        let Some(entry) = share.tables[slot].find(key.hash, key.bytes) else {
            return match share.cold & (1 << slot) {
                0 => PlainString::Absent,
                _ => PlainString::Unclear,
            };
        };
        if entry.is_cold() || entry.expire_at_ms().is_some_and(|at| at <= now_ms) {
            return PlainString::Unclear;
        }
        let string = match entry_value(&entry) {
            ValueRef::Int(int) => StringRef::Int(int),
            ValueRef::Bytes(bytes) if bytes.len() <= longest => StringRef::Bytes(bytes),
            _ => return PlainString::Unclear,
        };
        self.recorder.hits += 1;
        if let Some(access) = access {
            entry.touch(access);
        }
        PlainString::Found(string)
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
            place.get().touch(access);
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
        Ok(empty && self.detach(&key))
    }

    fn collection_mut<T>(
        &mut self,
        key: &[u8],
        make: Option<fn() -> Value>,
        project: fn(&mut Entry) -> Option<&mut T>,
        value_type: ValueType,
    ) -> Result<Option<&mut T>, DbError> {
        let key = self.key_ref(key);
        let mut found = self.peek_ref(&key)?;
        if found.as_ref().is_some_and(|e| e.has_expiring_fields()) {
            self.remove_hidden_fields(&key);
            found = self.peek_ref(&key)?;
        }
        match (found.map(|e| e.value_type()), make) {
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
            place.get().touch(access);
        }
        Ok(place.into_part(project))
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
typed!(stream, stream_mut, stream_or_new, Stream, stream_mut);

/// What [`Db::plain_string`] finds.
pub enum PlainString<'a> {
    /// The string.
    Found(StringRef<'a>),
    /// No key; nothing was counted.
    Absent,
    /// Something else: what it is [`Db::string`] tells. Nothing was counted.
    Unclear,
}

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

fn is_empty(value: ValueRef) -> bool {
    match value {
        ValueRef::Int(_) | ValueRef::Bytes(_) => false,
        ValueRef::List(list) => list.is_empty(),
        ValueRef::Set(set) => set.is_empty(),
        ValueRef::Hash(hash) => hash.is_empty(),
        ValueRef::ZSet(zset) => zset.is_empty(),
        // A stream without entries still knows its last id and its groups.
        ValueRef::Stream(_) => false,
    }
}
