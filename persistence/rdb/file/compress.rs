//! Values with their strings compressed, as `rdbcompression` asks for. The tree's rows hold them
//! as they are.

use super::super::primitive::{Reader, put_length, put_string};
use super::super::{Limits, RdbError, value_type};

/// Below this nothing in a value can be worth compressing.
const MIN_BYTES: usize = 24;

/// Appends the body of a value of type `type_byte` to `out` with its longer strings compressed.
/// False, with nothing appended, where it stays as it is.
pub(super) fn put_compressed(type_byte: u8, body: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if body.len() < MIN_BYTES {
        return false;
    }
    let limits = Limits {
        max_string_bytes: usize::MAX,
    };
    let mut reader = Reader::new(body, limits);
    match put(type_byte, &mut reader, out) {
        Ok(true) if reader.remaining() == 0 => true,
        _ => {
            out.truncate(start);
            false
        }
    }
}

fn put(type_byte: u8, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<bool, RdbError> {
    let (lengths, strings, fixed) = match type_byte {
        value_type::STRING
        | value_type::HASH_ZIPMAP..=value_type::HASH_ZIPLIST
        | value_type::HASH_LISTPACK
        | value_type::ZSET_LISTPACK
        | value_type::SET_LISTPACK => {
            put_string(out, &reader.string()?, true);
            return Ok(true);
        }
        value_type::LIST | value_type::SET | value_type::LIST_QUICKLIST => (0, 1, 0),
        value_type::HASH => (0, 2, 0),
        value_type::ZSET_2 => (0, 1, 8),
        value_type::HASH_2 => (0, 2, 8),
        value_type::LIST_QUICKLIST_2 => (1, 1, 0),
        _ => return Ok(false),
    };
    let count = reader.length()?;
    put_length(out, count);
    for _ in 0..count {
        for _ in 0..lengths {
            put_length(out, reader.length()?);
        }
        for _ in 0..strings {
            put_string(out, &reader.string()?, true);
        }
        out.extend_from_slice(reader.take(fixed)?);
    }
    Ok(true)
}
