//! Reads a value in any encoding of RDB versions 6 to 11, and Valkey's hash with an expiry a
//! field (version 80). Modules are refused by name.
//!
//! | types | body |
//! |---|---|
//! | 0 | string |
//! | 1, 2, 3, 4, 5, 22 | count, elements; a score is ASCII in 3, binary in 5 |
//! | 9 to 13, 16, 17, 20 | one string: a zipmap, ziplist, intset or listpack |
//! | 14 | count, ziplists |
//! | 18 | count, nodes: container (1 one element, 2 listpack), string |
//! | 15, 19, 21 | a stream, see `stream.rs` |
//!
//! An element of 22 is a field, its value, and its expiry in 8 bytes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::listpack::{self, Item};
use super::primitive::{Reader, parse_double};
use super::stream::{StreamObject, read_stream};
use super::{Limits, RdbError, intset, rdb_version, value_type, ziplist};

/// A quicklist node that is one element.
pub(super) const NODE_PLAIN: u64 = 1;
/// A quicklist node that is a listpack.
pub(super) const NODE_PACKED: u64 = 2;
/// The expiry of a field that has none.
const NO_EXPIRY: i64 = -1;
/// Up to so many members are compared with each other rather than hashed.
const FEW_MEMBERS: usize = 8;

/// A field of a hash, its value, and when it expires (Unix time in milliseconds).
pub type HashField = (Vec<u8>, Vec<u8>, Option<i64>);

/// A value, whole and valid: no collection is empty, no member or field occurs twice, no score
/// is NaN.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A string.
    String(Vec<u8>),
    /// Elements from head to tail.
    List(Vec<Vec<u8>>),
    /// Members, in the order of the input.
    Set(Vec<Vec<u8>>),
    /// Fields, in the order of the input.
    Hash(Vec<HashField>),
    /// Members and scores, in the order of the input, which need not be that of the scores.
    ZSet(Vec<(Vec<u8>, f64)>),
    /// Entries and consumer groups. Alone among the collections it may be empty.
    Stream(StreamObject),
}

/// Decodes a type byte and its body, which must end with the payload. A type that only Valkey's
/// RDB version has is refused; [`decode_object_of_version`] reads that too.
pub fn decode_object(payload: &[u8], limits: Limits) -> Result<Object, RdbError> {
    decode_object_of_version(payload, rdb_version::REDIS_7_2, limits)
}

/// Decodes a type byte and its body, which must end with the payload, as [`rdb_version`]
/// `version` defines them.
pub fn decode_object_of_version(
    payload: &[u8],
    version: u16,
    limits: Limits,
) -> Result<Object, RdbError> {
    let mut reader = Reader::new(payload, limits);
    let type_byte = reader.byte()?;
    let object = read_object(&mut reader, type_byte, version)?;
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("bytes behind the value"));
    }
    Ok(object)
}

/// Takes the body of a value of type `type_byte` from `reader`, as RDB version `version` defines
/// it.
pub fn read_object(
    reader: &mut Reader<'_>,
    type_byte: u8,
    version: u16,
) -> Result<Object, RdbError> {
    let object = match type_byte {
        value_type::STRING => Object::String(owned_string(reader)?),
        value_type::LIST => Object::List(read_elements(reader, 1, owned_string)?),
        value_type::SET => Object::Set(read_elements(reader, 1, owned_string)?),
        value_type::ZSET => Object::ZSet(read_elements(reader, 2, |reader| {
            Ok((owned_string(reader)?, reader.ascii_double()?))
        })?),
        value_type::ZSET_2 => Object::ZSet(read_elements(reader, 9, |reader| {
            Ok((owned_string(reader)?, reader.double()?))
        })?),
        value_type::HASH => Object::Hash(read_elements(reader, 2, |reader| {
            Ok((owned_string(reader)?, owned_string(reader)?, None))
        })?),
        value_type::HASH_2 if version >= rdb_version::VALKEY_9 => {
            Object::Hash(read_elements(reader, 10, read_expiring_field)?)
        }
        value_type::STREAM_LISTPACKS
        | value_type::STREAM_LISTPACKS_2
        | value_type::STREAM_LISTPACKS_3 => Object::Stream(read_stream(reader, type_byte)?),
        value_type::LIST_QUICKLIST => Object::List(read_ziplists(reader)?),
        value_type::LIST_QUICKLIST_2 => Object::List(read_nodes(reader)?),
        _ => match packed_form(type_byte) {
            Some(form) => unpack(form, &reader.string()?)?,
            None => return Err(unsupported(type_byte)),
        },
    };
    check(&object)?;
    Ok(object)
}

fn owned_string(reader: &mut Reader<'_>) -> Result<Vec<u8>, RdbError> {
    reader.string().map(Cow::into_owned)
}

/// A count and so many elements of at least `bytes_each` bytes. The vector grows with what is
/// read, whatever the count says.
fn read_elements<'a, T>(
    reader: &mut Reader<'a>,
    bytes_each: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, RdbError>,
) -> Result<Vec<T>, RdbError> {
    let count = reader.count(bytes_each)?;
    (0..count).map(|_| read(reader)).collect()
}

fn read_expiring_field(reader: &mut Reader<'_>) -> Result<HashField, RdbError> {
    let (field, value) = (owned_string(reader)?, owned_string(reader)?);
    let expiry = match i64::from_le_bytes(reader.array()?) {
        NO_EXPIRY => None,
        expiry_ms @ 0.. => Some(expiry_ms),
        _ => return Err(RdbError::Corrupt("expiry of a field before 1970")),
    };
    Ok((field, value, expiry))
}

fn read_ziplists(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, RdbError> {
    let mut elements = Vec::new();
    for _ in 0..reader.count(1)? {
        let items = ziplist::items(&reader.string()?)?
            .into_iter()
            .map(Item::to_bytes)
            .collect::<Vec<_>>();
        elements.extend(items);
    }
    Ok(elements)
}

fn read_nodes(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, RdbError> {
    let mut elements = Vec::new();
    for _ in 0..reader.count(2)? {
        let container = reader.length()?;
        let node = reader.string()?;
        match container {
            NODE_PACKED => elements.extend(listpack::iter(&node)?.map(Item::to_bytes)),
            NODE_PLAIN if !node.is_empty() => elements.push(node.into_owned()),
            NODE_PLAIN => return Err(RdbError::Corrupt("empty list node")),
            _ => return Err(RdbError::Corrupt("unknown container of a list node")),
        }
    }
    Ok(elements)
}

/// A value whose body is one string.
#[derive(Clone, Copy)]
enum PackedForm {
    List,
    Set(Block),
    Hash(Block),
    ZSet(Block),
}

/// What that string is.
#[derive(Clone, Copy)]
enum Block {
    Intset,
    Listpack,
    Ziplist,
    Zipmap,
}

fn packed_form(type_byte: u8) -> Option<PackedForm> {
    Some(match type_byte {
        value_type::LIST_ZIPLIST => PackedForm::List,
        value_type::SET_INTSET => PackedForm::Set(Block::Intset),
        value_type::SET_LISTPACK => PackedForm::Set(Block::Listpack),
        value_type::HASH_ZIPMAP => PackedForm::Hash(Block::Zipmap),
        value_type::HASH_ZIPLIST => PackedForm::Hash(Block::Ziplist),
        value_type::HASH_LISTPACK => PackedForm::Hash(Block::Listpack),
        value_type::ZSET_ZIPLIST => PackedForm::ZSet(Block::Ziplist),
        value_type::ZSET_LISTPACK => PackedForm::ZSet(Block::Listpack),
        _ => return None,
    })
}

fn unpack(form: PackedForm, bytes: &[u8]) -> Result<Object, RdbError> {
    let strings = |items: Vec<Item<'_>>| items.into_iter().map(Item::to_bytes).collect();
    Ok(match form {
        PackedForm::List => Object::List(strings(block_items(Block::Ziplist, bytes)?)),
        PackedForm::Set(block) => Object::Set(strings(block_items(block, bytes)?)),
        PackedForm::Hash(block) => {
            let items = block_items(block, bytes)?;
            let pairs = pairs(&items)?.iter();
            let fields = pairs.map(|[field, value]| (field.to_bytes(), value.to_bytes(), None));
            Object::Hash(fields.collect())
        }
        PackedForm::ZSet(block) => {
            let items = block_items(block, bytes)?;
            let pairs = pairs(&items)?.iter();
            let members = pairs.map(|[member, score]| Ok((member.to_bytes(), score_of(*score)?)));
            Object::ZSet(members.collect::<Result<_, RdbError>>()?)
        }
    })
}

fn block_items(block: Block, bytes: &[u8]) -> Result<Vec<Item<'_>>, RdbError> {
    match block {
        Block::Intset => Ok(intset::members(bytes)?.into_iter().map(Item::Int).collect()),
        Block::Listpack => Ok(listpack::iter(bytes)?.collect()),
        Block::Ziplist => ziplist::items(bytes),
        Block::Zipmap => ziplist::zipmap_items(bytes),
    }
}

fn pairs<'i, 'a>(items: &'i [Item<'a>]) -> Result<&'i [[Item<'a>; 2]], RdbError> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(RdbError::Corrupt(
            "odd number of elements where pairs are due",
        )),
    }
}

pub(super) fn score_of(item: Item<'_>) -> Result<f64, RdbError> {
    match item {
        Item::Int(score) => Ok(score as f64),
        Item::Str(text) => parse_double(text),
    }
}

/// The rules that hold for a value in any encoding.
fn check(object: &Object) -> Result<(), RdbError> {
    match object {
        Object::String(_) | Object::Stream(_) => Ok(()),
        Object::List(elements) if elements.is_empty() => Err(RdbError::Empty),
        Object::List(_) => Ok(()),
        Object::Set(members) => check_members(members.iter().map(Vec::as_slice)),
        Object::Hash(fields) => check_members(fields.iter().map(|(field, ..)| field.as_slice())),
        Object::ZSet(members) => {
            if members.iter().any(|(_, score)| score.is_nan()) {
                return Err(RdbError::NanScore);
            }
            check_members(members.iter().map(|(member, _)| member.as_slice()))
        }
    }
}

/// There are members and no two are the same.
fn check_members<'a>(
    members: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Result<(), RdbError> {
    if members.len() == 0 {
        return Err(RdbError::Empty);
    }
    let is_unique = if members.len() <= FEW_MEMBERS {
        let is_first = |(i, member)| !members.clone().take(i).any(|before| before == member);
        members.clone().enumerate().all(is_first)
    } else {
        let mut seen = HashSet::with_capacity(members.len());
        members.clone().all(|member| seen.insert(member))
    };
    if is_unique {
        Ok(())
    } else {
        Err(RdbError::Duplicate)
    }
}

/// The refusal of a type that is not read here, by name.
pub(super) fn unsupported(type_byte: u8) -> RdbError {
    let name = match type_byte {
        6 | 7 => "module",
        value_type::HASH_2 => "hash with field expiry, not of Valkey's RDB version 80",
        23..=25 => "hash with field expiry of Redis 7.4",
        _ => "unknown",
    };
    RdbError::UnsupportedType { type_byte, name }
}
