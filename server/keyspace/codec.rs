//! Values to and from RDB objects: one type byte and a body, as in RDB files,
//! DUMP payloads and the tree's rows. Source: the RDB format, version 10.
//!
//! What this server wrote itself is read back by the quickest way; any other
//! encoding goes through the persistence crate's decoder, which validates it
//! whole before anything is made of it (I9).

use redoubt_persistence::rdb::object::{Object, decode_object_of_version};
use redoubt_persistence::rdb::primitive::{Reader, put_length, put_raw_string, put_string};
use redoubt_persistence::rdb::{Limits, RdbError, rdb_version, value_type};

use super::entry::{Value, ValueRef};
use super::hash::Hash;
use super::list::{List, NodeBytes};
use super::listpack::Entry as Item;
use super::set::Set;
use super::stream::{self, Stream};
use super::zset::ZSet;

/// Container byte of a quicklist node that is one plain element.
const PLAIN_NODE: u64 = 1;
/// The expiry of a field that has none.
pub(super) const NO_EXPIRY: i64 = -1;
/// Container byte of a quicklist node that is a listpack.
const PACKED_NODE: u64 = 2;

/// Appends a value as type byte and body.
pub fn encode_payload(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Int(int) => {
            out.push(value_type::STRING);
            put_string(out, itoa::Buffer::new().format(int).as_bytes(), false);
        }
        ValueRef::Bytes(bytes) => {
            out.push(value_type::STRING);
            put_raw_string(out, bytes);
        }
        ValueRef::List(list) => encode_list(list, out),
        ValueRef::Set(set) => encode_set(set, out),
        ValueRef::Hash(hash) => encode_hash(hash, out),
        ValueRef::ZSet(zset) => encode_zset(zset, out),
        ValueRef::Stream(stream) => stream::encode(stream, out),
    }
}

fn encode_list(list: &List, out: &mut Vec<u8>) {
    out.push(value_type::LIST_QUICKLIST_2);
    put_length(out, list.nodes().count() as u64);
    list.nodes().for_each(|node| put_node(node, out));
}

/// Appends a node of a list.
pub(super) fn put_node(node: NodeBytes<'_>, out: &mut Vec<u8>) {
    let (container, bytes) = match node {
        NodeBytes::Plain(bytes) => (PLAIN_NODE, bytes),
        NodeBytes::Packed(bytes) => (PACKED_NODE, bytes),
    };
    put_length(out, container);
    put_raw_string(out, bytes);
}

fn put_item(out: &mut Vec<u8>, item: Item<'_>) {
    match item {
        Item::Int(int) => put_raw_string(out, itoa::Buffer::new().format(int).as_bytes()),
        Item::Str(bytes) => put_raw_string(out, bytes),
    }
}

fn encode_set(set: &Set, out: &mut Vec<u8>) {
    if let Set::Int(ints) = set {
        out.push(value_type::SET_INTSET);
        put_raw_string(out, ints.as_bytes());
        return;
    }
    // RDB 10 knows no listpack set: small ones are written member by member.
    out.push(value_type::SET);
    put_length(out, set.len() as u64);
    set.iter().for_each(|member| put_item(out, member));
}

fn encode_hash(hash: &Hash, out: &mut Vec<u8>) {
    if let Some(bytes) = hash.packed_bytes() {
        out.push(value_type::HASH_LISTPACK);
        put_raw_string(out, bytes);
        return;
    }
    if let Some((count, fields)) = hash.with_expiries() {
        out.push(value_type::HASH_2);
        put_length(out, count as u64);
        for (field, value, expire_at_ms) in fields {
            put_raw_string(out, field);
            put_raw_string(out, value);
            out.extend_from_slice(&expire_at_ms.unwrap_or(NO_EXPIRY).to_le_bytes());
        }
        return;
    }
    out.push(value_type::HASH);
    put_length(out, hash.len() as u64);
    for (field, value) in hash.iter() {
        put_item(out, field);
        put_item(out, value);
    }
}

fn encode_zset(zset: &ZSet, out: &mut Vec<u8>) {
    if let Some(bytes) = zset.packed_bytes() {
        out.push(value_type::ZSET_LISTPACK);
        put_raw_string(out, bytes);
        return;
    }
    out.push(value_type::ZSET_2);
    put_length(out, zset.len() as u64);
    for (member, score) in zset.iter() {
        put_item(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
}

/// Reads a value back from type byte and body, which must be consumed whole.
pub fn decode_payload(payload: &[u8]) -> Result<Value, RdbError> {
    if let Some((&value_type::STRING, body)) = payload.split_first() {
        let mut reader = Reader::new(body, Limits::default());
        let bytes = reader.string()?;
        if reader.remaining() == 0 {
            return Ok(string_value(bytes.into_owned()));
        }
    }
    decode_object_of_version(payload, rdb_version::VALKEY_9, Limits::default()).map(value_of)
}

fn string_value(bytes: Vec<u8>) -> Value {
    match crate::number::parse_i64(&bytes) {
        Some(int) if bytes.len() <= 20 => Value::Int(int),
        _ => Value::Bytes(bytes),
    }
}

/// The value that a decoded object stands for, in the encoding that this
/// server would have given it.
pub fn value_of(object: Object) -> Value {
    match object {
        Object::String(bytes) => string_value(bytes),
        Object::List(items) => {
            let mut list = List::new();
            list.push_all(super::list::End::Back, items.iter().map(Vec::as_slice));
            Value::List(list)
        }
        Object::Set(members) => {
            let first = members.first().map_or(&b""[..], Vec::as_slice);
            let mut set = Set::for_members(first, members.len());
            members.iter().for_each(|member| {
                set.add(member);
            });
            Value::Set(set)
        }
        Object::Hash(fields) => {
            let mut hash = Hash::new();
            let longest = fields.iter().map(|(f, v, _)| f.len().max(v.len())).max();
            hash.prepare(fields.len(), longest.unwrap_or(0));
            fields.iter().for_each(|(field, value, expire_at_ms)| {
                hash.set_expiring(field, value, *expire_at_ms);
            });
            Value::Hash(hash)
        }
        Object::ZSet(members) => {
            let mut zset = ZSet::new();
            let longest = members.iter().map(|(m, _)| m.len()).max();
            zset.prepare(members.len(), longest.unwrap_or(0));
            members.iter().for_each(|(member, score)| {
                zset.add(member, *score);
            });
            Value::ZSet(zset)
        }
        Object::Stream(object) => Value::Stream(Stream::from(object)),
    }
}
