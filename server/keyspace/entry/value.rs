//! What a key can hold: the types, and values outside and inside an entry.

use crate::keyspace::hash::Hash;
use crate::keyspace::list::List;
use crate::keyspace::set::Set;
use crate::keyspace::stream::Stream;
use crate::keyspace::zset::ZSet;

/// The types a client can see (TYPE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    String,
    List,
    Set,
    Hash,
    ZSet,
    Stream,
}

impl ValueType {
    /// All of them.
    pub const ALL: &[ValueType] = &[
        ValueType::String,
        ValueType::List,
        ValueType::Set,
        ValueType::Hash,
        ValueType::ZSet,
        ValueType::Stream,
    ];

    /// The name TYPE answers with.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::String => "string",
            ValueType::List => "list",
            ValueType::Set => "set",
            ValueType::Hash => "hash",
            ValueType::ZSet => "zset",
            ValueType::Stream => "stream",
        }
    }
}

/// A value on its own, on its way into or out of an entry.
pub enum Value {
    /// A string that is the canonical decimal of this integer.
    Int(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    ZSet(ZSet),
    /// A stream.
    Stream(Stream),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Int(_) | Value::Bytes(_) => ValueType::String,
            Value::List(_) => ValueType::List,
            Value::Set(_) => ValueType::Set,
            Value::Hash(_) => ValueType::Hash,
            Value::ZSet(_) => ValueType::ZSet,
            Value::Stream(_) => ValueType::Stream,
        }
    }

    /// Whether it is a hash of which some field expires.
    pub fn has_expiring_fields(&self) -> bool {
        matches!(self, Value::Hash(hash) if hash.has_expiries())
    }
}

/// A value seen in its entry.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string held as an integer.
    Int(i64),
    /// A string.
    Bytes(&'a [u8]),
    /// A list.
    List(&'a List),
    /// A set.
    Set(&'a Set),
    /// A hash.
    Hash(&'a Hash),
    /// A sorted set.
    ZSet(&'a ZSet),
    /// A stream.
    Stream(&'a Stream),
}
