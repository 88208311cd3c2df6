//! The RDB codec: the bytes in which Redis and Valkey write a value to a dump file, a DUMP reply
//! and a full sync; also the payload of a row in the tree.
//!
//! It owns the formats from RDB version 6 to 11 and Valkey's 80 (its type 22). It does not know
//! the tables of the server: values go in and out as [`object::Object`], as slices, or as packed
//! blobs. Everything read is validated whole before the caller sees any of it (I9); no length in
//! the input is believed further than the input could hold.
//!
//! Formats: `rdb.h`, `listpack.c`, `ziplist.c`, `zipmap.c`, `intset.c` of Valkey 8.0.

pub mod crc64;
pub mod disputed;
pub mod dump;
pub mod encode;
pub mod file;
pub mod intset;
pub mod listpack;
pub mod lzf;
pub mod object;
pub mod primitive;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod ziplist;

pub use dump::DumpError;
pub use object::{Object, decode_object, decode_object_of_version};

/// The versions of the format, of which each adds types to those before.
pub mod rdb_version {
    /// Redis 7.0: listpacks; the version written here unless a value's type needs a later one.
    pub const REDIS_7_0: u16 = 10;
    /// Redis 7.2 and Valkey 8: sets in listpacks.
    pub const REDIS_7_2: u16 = 11;
    /// Valkey 9: hashes with an expiry a field. The numbers between belong to Redis and mean
    /// other types.
    pub const VALKEY_9: u16 = 80;
}

/// The byte in front of a value that names its encoding.
pub mod value_type {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set with scores in ASCII.
    pub const ZSET: u8 = 3;
    /// A hash, pair by pair.
    pub const HASH: u8 = 4;
    /// A sorted set with binary scores.
    pub const ZSET_2: u8 = 5;
    /// A hash in a zipmap (before Redis 2.6).
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list in one ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set in an intset.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set in a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash in a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list in several ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream (Redis 5).
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A hash in a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set in a listpack.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list in listpacks and plain nodes.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream (Redis 7.0).
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A set in a listpack; since RDB version 11.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream (Redis 7.2).
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Valkey 9's hash with an expiry a field; since its RDB version 80. Redis gives this number
    /// another meaning.
    pub const HASH_2: u8 = 22;
}

/// Why bytes are not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// The input ends inside a value.
    #[error("input ends early")]
    Truncated,
    /// A type that is not read here.
    #[error("value type {type_byte} ({name}) is not supported")]
    UnsupportedType {
        /// The type byte.
        type_byte: u8,
        /// What that type is.
        name: &'static str,
    },
    /// The bytes break the rules of their format.
    #[error("corrupt value: {0}")]
    Corrupt(&'static str),
    /// A set, hash or sorted set names a member twice.
    #[error("corrupt value: duplicate member")]
    Duplicate,
    /// A sorted set has a score that is not a number.
    #[error("corrupt value: score is NaN")]
    NanScore,
    /// A collection without elements, which no server stores.
    #[error("corrupt value: empty collection")]
    Empty,
    /// Larger than the [`Limits`] allow.
    #[error("value is larger than allowed")]
    TooLarge,
    /// The value can't be written in the RDB version asked for.
    #[error("value can't be written in this RDB version")]
    NotInVersion,
}

/// How much of an input is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest string, in bytes.
    pub max_string_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_string_bytes: 512 << 20,
        }
    }
}
