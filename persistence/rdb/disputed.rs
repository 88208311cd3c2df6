//! Listpacks that not every server reads. An entry of 16,383, 2,097,151 or 268,435,455 bytes has a
//! back length of two, three or four bytes in Valkey 9, and of one more in Redis and in Valkey
//! before that: each takes the other's for a corrupt one. So what is handed out holds no such
//! entry where its type has another encoding. Streams have none.

use super::listpack::{self, Item, Writer};
use super::object::{NODE_PACKED, NODE_PLAIN, score_of};
use super::primitive::{Reader, put_length, put_raw_string, put_string};
use super::{Limits, RdbError, value_type};

/// The smallest of them.
const LEAST_BYTES: usize = 16_383;
/// What an entry of so many bytes has before its string.
const ENCODING_BYTES: usize = 5;

/// A value, type byte and body, without entries that servers dispute; of streams with the longer
/// back lengths if `longer`. None if it can stay as it is.
pub fn settle(type_byte: u8, body: &[u8], longer: bool) -> Option<(u8, Vec<u8>)> {
    if body.len() < LEAST_BYTES {
        return None;
    }
    let limits = Limits {
        max_string_bytes: usize::MAX,
    };
    let reader = &mut Reader::new(body, limits);
    let settled = match type_byte {
        value_type::SET_LISTPACK => plain(reader, value_type::SET),
        value_type::HASH_LISTPACK => plain(reader, value_type::HASH),
        value_type::ZSET_LISTPACK => plain(reader, value_type::ZSET_2),
        value_type::LIST_QUICKLIST_2 => list(reader).map(|list| list.map(|list| (type_byte, list))),
        value_type::STREAM_LISTPACKS
        | value_type::STREAM_LISTPACKS_2
        | value_type::STREAM_LISTPACKS_3 => {
            stream(reader, body, longer).map(|stream| stream.map(|stream| (type_byte, stream)))
        }
        _ => return None,
    };
    // What can't be read is not ours to mend.
    settled.ok().flatten()
}

/// Whether an element has an entry of such a size.
fn is_disputed(item: &Item<'_>) -> bool {
    match item {
        Item::Int(_) => false,
        Item::Str(string) => matches!(
            string.len() + ENCODING_BYTES,
            LEAST_BYTES | 2_097_151 | 268_435_455
        ),
    }
}

/// Whether a listpack has such an entry.
fn has_disputed(listpack: &[u8]) -> Result<bool, RdbError> {
    Ok(listpack.len() > LEAST_BYTES && listpack::iter(listpack)?.any(|item| is_disputed(&item)))
}

/// A collection in a listpack, element by element.
fn plain(reader: &mut Reader<'_>, type_byte: u8) -> Result<Option<(u8, Vec<u8>)>, RdbError> {
    let listpack = reader.string()?;
    if !has_disputed(&listpack)? {
        return Ok(None);
    }
    let mut items = listpack::iter(&listpack)?;
    let mut out = Vec::with_capacity(listpack.len());
    let each = if type_byte == value_type::SET { 1 } else { 2 };
    put_length(&mut out, items.len() as u64 / each);
    while let Some(item) = items.next() {
        put_string(&mut out, &item.to_bytes(), false);
        if type_byte == value_type::ZSET_2 {
            let score = items.next().ok_or(RdbError::Corrupt("listpack"))?;
            let score = score_of(score)?;
            out.extend_from_slice(&score.to_le_bytes());
        }
    }
    Ok(Some((type_byte, out)))
}

/// A list, with nodes of their own for such elements.
fn list(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, RdbError> {
    let (mut nodes, mut count, mut found) = (Vec::new(), 0_u64, false);
    let mut put = |container: u64, node: &[u8]| {
        put_length(&mut nodes, container);
        put_raw_string(&mut nodes, node);
        count += 1;
    };
    let read = reader.clone();
    for _ in 0..reader.length()? {
        let (container, node) = (reader.length()?, reader.string()?);
        if container == NODE_PACKED && has_disputed(&node)? {
            found = true;
            break;
        }
    }
    if !found {
        return Ok(None);
    }
    let mut reader = read;
    for _ in 0..reader.length()? {
        let (container, node) = (reader.length()?, reader.string()?);
        if container != NODE_PACKED || !has_disputed(&node)? {
            put(container, &node);
            continue;
        }
        let mut between = Writer::new();
        for item in listpack::iter(&node)? {
            if !is_disputed(&item) {
                between.push_item(item);
                continue;
            }
            let before = std::mem::take(&mut between);
            if before.count() > 0 {
                put(NODE_PACKED, &before.finish());
            }
            put(NODE_PLAIN, &item.to_bytes());
        }
        if between.count() > 0 {
            put(NODE_PACKED, &between.finish());
        }
    }
    let mut out = Vec::with_capacity(nodes.len() + 9);
    put_length(&mut out, count);
    out.extend_from_slice(&nodes);
    Ok(Some(out))
}

/// A stream with back lengths of one kind.
fn stream(reader: &mut Reader<'_>, body: &[u8], longer: bool) -> Result<Option<Vec<u8>>, RdbError> {
    let (mut out, mut found) = (Vec::new(), false);
    let nodes = reader.length()?;
    put_length(&mut out, nodes);
    // Up to here everything is copied.
    let mut copied = body.len() - reader.remaining();
    for _ in 0..nodes {
        reader.string()?;
        let at = body.len() - reader.remaining();
        let node = reader.string()?;
        if !has_disputed(&node)? {
            continue;
        }
        let mut anew = Writer::with_longer(longer);
        listpack::iter(&node)?.for_each(|item| anew.push_item(item));
        out.extend_from_slice(&body[copied..at]);
        put_raw_string(&mut out, &anew.finish());
        copied = body.len() - reader.remaining();
        found = true;
    }
    out.extend_from_slice(&body[copied..]);
    Ok(found.then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Object, decode_object};

    fn decoded(type_byte: u8, body: &[u8]) -> Object {
        let value = [&[type_byte], body].concat();
        decode_object(&value, Limits::default()).unwrap()
    }

    fn packed(items: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::new();
        items.iter().for_each(|item| writer.push(item));
        writer.finish()
    }

    #[test]
    fn collections_hold_no_disputed_entry_and_are_the_same() {
        for size in [16_378, 2_097_146] {
            let large = vec![b'x'; size];
            let mut blob = Vec::new();
            put_raw_string(&mut blob, &packed(&[b"a", &large, &large[1..], b"12"]));
            let mut scores = Vec::new();
            put_raw_string(&mut scores, &packed(&[b"a", b"1.5", &large, b"7"]));
            let mut list = vec![1, NODE_PACKED as u8];
            list.extend_from_slice(&blob);
            for (type_byte, settled, body) in [
                (value_type::SET_LISTPACK, value_type::SET, &blob),
                (value_type::HASH_LISTPACK, value_type::HASH, &blob),
                (value_type::ZSET_LISTPACK, value_type::ZSET_2, &scores),
                (
                    value_type::LIST_QUICKLIST_2,
                    value_type::LIST_QUICKLIST_2,
                    &list,
                ),
            ] {
                let (found, anew) = settle(type_byte, body, false).unwrap();
                assert_eq!(found, settled);
                assert_eq!(decoded(settled, &anew), decoded(type_byte, body));
                assert!(settle(settled, &anew, false).is_none());
            }
        }
    }

    #[test]
    fn streams_get_the_back_lengths_that_their_reader_wants() {
        let node = packed(&[b"1", &[b'x'; 16_378], b"2"]);
        let mut body = vec![1];
        put_raw_string(&mut body, &[0; 16]);
        put_raw_string(&mut body, &node);
        body.extend_from_slice(b"the rest");
        let (_, longer) = settle(value_type::STREAM_LISTPACKS_2, &body, true).unwrap();
        assert_eq!(longer.len(), body.len() + 1);
        assert!(longer.ends_with(b"the rest"));
        let (_, shorter) = settle(value_type::STREAM_LISTPACKS_2, &longer, false).unwrap();
        assert_eq!(shorter, body);
    }

    #[test]
    fn sizes_beside_them_stay_as_they_are() {
        for size in [16_377, 16_379, 2_097_145, 2_097_147] {
            let mut body = vec![1, NODE_PACKED as u8];
            put_raw_string(&mut body, &packed(&[&vec![b'x'; size]]));
            assert!(settle(value_type::LIST_QUICKLIST_2, &body, true).is_none());
        }
    }
}
