//! RDB files: the frame around values in a dump file or a full sync.
//!
//! A file is `REDIS` or `VALKEY`, the version in decimal digits (9 bytes in all), and then records,
//! each an opcode or a value type in one byte with what belongs to it. It owns the frame only: a
//! value passes through as type byte and body, whose lengths are followed but whose sense is left
//! to [`super::object`]. Nothing here keeps more than one value in memory.
//!
//! | opcode | record |
//! |---|---|
//! | 0 to 31 | a key of that value type: key, value |
//! | 244 | a slot's counts: slot, keys, keys with an expiry (Valkey) |
//! | 245 | the source of a function library |
//! | 247 | data of a module |
//! | 248, 249 | of the next key: idle seconds (a length), access frequency (a byte) |
//! | 250 | an auxiliary field: name, value |
//! | 251 | sizes of the selected database: keys, keys with an expiry |
//! | 252, 253 | of the next key: expiry in 8 bytes of Unix ms, or 4 of Unix s, little-endian |
//! | 254 | selects a database |
//! | 255 | the end; CRC-64 of all before it, little-endian, 0 if it was not made; since version 5 |
//!
//! Format: `rdb.c`, `rdb.h` of Valkey 8.0.

mod compress;
mod older;
mod reader;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Checksum, FileReader, KeyRecord, ReadOptions, Record};
pub use snapshot::{Database, Progress, SnapshotError, write_slot, write_snapshot};
pub use source::{FileError, FileErrorKind};
pub use writer::{BUFFER_BYTES, FileWriter, WriteOptions};

/// The bytes that stand in place of a value's type.
mod opcode {
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_OF_RC: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRY_MS: u8 = 252;
    pub const EXPIRY_S: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// The name of a module in the 64-bit number that an RDB file has for it: nine characters of six
/// bits each, then ten bits of version.
fn module_name(id: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9)
        .map(|at| char::from(ALPHABET[(id >> (58 - 6 * at)) as usize & 0x3f]))
        .collect()
}
