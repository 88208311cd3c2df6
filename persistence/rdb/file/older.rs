//! Values of later RDB versions in the words of version 10.

use std::borrow::Cow;

use super::super::primitive::{Reader, put_length, put_raw_string, put_string};
use super::super::{Limits, RdbError, listpack, value_type};

/// The last type that version 10 has.
const NEWEST: u8 = value_type::STREAM_LISTPACKS_2;

/// A value's type and body as version 10 has them. Of a stream's consumers it does not have when
/// they were active last.
pub(super) fn in_version_10(type_byte: u8, body: &[u8]) -> Result<(u8, Cow<'_, [u8]>), RdbError> {
    let limits = Limits {
        max_string_bytes: usize::MAX,
    };
    let mut reader = Reader::new(body, limits);
    let mut out = Vec::with_capacity(body.len());
    let type_byte = match type_byte {
        ..=NEWEST => return Ok((type_byte, Cow::Borrowed(body))),
        value_type::SET_LISTPACK => {
            let members = reader.string()?;
            let members = listpack::iter(&members)?;
            put_length(&mut out, members.len() as u64);
            members.for_each(|member| put_string(&mut out, &member.to_bytes(), false));
            value_type::SET
        }
        value_type::STREAM_LISTPACKS_3 => {
            put_older_stream(&mut reader, &mut out)?;
            value_type::STREAM_LISTPACKS_2
        }
        _ => return Err(RdbError::NotInVersion),
    };
    match reader.remaining() {
        0 => Ok((type_byte, Cow::Owned(out))),
        _ => Err(RdbError::Corrupt("bytes behind the value")),
    }
}

/// Copies all of a stream but each consumer's second time.
fn put_older_stream(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), RdbError> {
    const PENDING_ID_BYTES: usize = 16;
    const TIME_BYTES: usize = 8;
    fn string(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), RdbError> {
        put_raw_string(out, &reader.string()?);
        Ok(())
    }
    fn length(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<u64, RdbError> {
        let length = reader.length()?;
        put_length(out, length);
        Ok(length)
    }
    for _ in 0..length(reader, out)? {
        string(reader, out)?;
        string(reader, out)?;
    }
    // Count, last id, first id, largest deleted id, entries ever added.
    for _ in 0..8 {
        length(reader, out)?;
    }
    for _ in 0..length(reader, out)? {
        string(reader, out)?;
        // Last delivered id, entries read.
        for _ in 0..3 {
            length(reader, out)?;
        }
        for _ in 0..length(reader, out)? {
            out.extend_from_slice(reader.take(PENDING_ID_BYTES + TIME_BYTES)?);
            length(reader, out)?;
        }
        for _ in 0..length(reader, out)? {
            string(reader, out)?;
            out.extend_from_slice(reader.take(TIME_BYTES)?);
            reader.take(TIME_BYTES)?;
            for _ in 0..length(reader, out)? {
                out.extend_from_slice(reader.take(PENDING_ID_BYTES)?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_in_a_listpack_becomes_a_plain_one() {
        let mut members = listpack::Writer::new();
        members.push(b"12");
        members.push(b"abc");
        let mut body = Vec::new();
        put_raw_string(&mut body, &members.finish());
        let (type_byte, older) = in_version_10(value_type::SET_LISTPACK, &body).unwrap();
        assert_eq!(type_byte, value_type::SET);
        assert_eq!(*older, b"\x02\xc0\x0c\x03abc"[..]);
    }

    #[test]
    fn a_stream_loses_the_activity_of_its_consumers_and_nothing_else() {
        // A node, the counters, and a group with an entry that a consumer has yet to acknowledge.
        let head = b"\x01\x04node\x08listpack\x01\x02\x03\x04\x05\x06\x07\x08";
        let group = b"\x01\x05group\x01\x02\x03\x01................timetime\x01";
        let consumer = b"\x01\x03bobseentime";
        let body = [
            &head[..],
            group,
            consumer,
            b"activity",
            b"\x01................",
        ]
        .concat();
        let expected = [&head[..], group, consumer, b"\x01................"].concat();
        let (type_byte, older) = in_version_10(value_type::STREAM_LISTPACKS_3, &body).unwrap();
        assert_eq!(type_byte, value_type::STREAM_LISTPACKS_2);
        assert_eq!(*older, expected[..]);
        assert!(in_version_10(value_type::STREAM_LISTPACKS_3, &body[..90]).is_err());
        assert!(in_version_10(value_type::HASH_2, &body).is_err());
    }
}
