//! The payload of DUMP and RESTORE: a value, the RDB version it is written in (`u16`), and the
//! CRC-64 of both; little-endian.

use super::crc64::crc64;
use super::{disputed, rdb_version, value_type};

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;
/// Why bytes are not the payload of a DUMP. To a client all of them are one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// Shorter than version and checksum.
    #[error("dump is too short")]
    TooShort,
    /// Of an RDB version that is not read here.
    #[error("dump is of RDB version {0}, which is not supported")]
    Version(u16),
    /// Not the bytes that the checksum was made of.
    #[error("dump has a wrong checksum")]
    Checksum,
}

/// Adds the oldest RDB version (from 10 on) that has the value's type, and the checksum, to a
/// value: its type byte and body.
pub fn wrap(value: &[u8]) -> Vec<u8> {
    let settled = value.split_first();
    let settled = settled.and_then(|(&first, body)| disputed::settle(first, body, false));
    let settled = settled.map(|(first, body)| [&[first], &body[..]].concat());
    let value = settled.as_deref().unwrap_or(value);
    let version = match value.first() {
        Some(&value_type::HASH_2) => rdb_version::VALKEY_9,
        Some(&(value_type::SET_LISTPACK | value_type::STREAM_LISTPACKS_3)) => {
            rdb_version::REDIS_7_2
        }
        _ => rdb_version::REDIS_7_0,
    };
    let mut dump = Vec::with_capacity(value.len() + VERSION_BYTES + CHECKSUM_BYTES);
    dump.extend_from_slice(value);
    dump.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &dump);
    dump.extend_from_slice(&checksum.to_le_bytes());
    dump
}

/// The value in a dump: type byte and body, not looked at yet.
pub fn unwrap(dump: &[u8]) -> Result<&[u8], DumpError> {
    unwrap_with_version(dump).map(|(value, _)| value)
}

/// The value in a dump, not looked at yet, and the RDB version that it is written in, for
/// [`super::decode_object_of_version`].
pub fn unwrap_with_version(dump: &[u8]) -> Result<(&[u8], u16), DumpError> {
    let (sealed, checksum) = dump
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(DumpError::TooShort)?;
    let (value, version) = sealed
        .split_last_chunk::<VERSION_BYTES>()
        .ok_or(DumpError::TooShort)?;
    let version = u16::from_le_bytes(*version);
    if !matches!(version, 0..=rdb_version::REDIS_7_2 | rdb_version::VALKEY_9) {
        return Err(DumpError::Version(version));
    }
    if *checksum != crc64(0, sealed).to_le_bytes() {
        return Err(DumpError::Checksum);
    }
    Ok((value, version))
}
