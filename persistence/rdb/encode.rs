//! Writes values: a type byte and its body, behind what `out` holds already.
//!
//! What is written loads into Redis 7.0 (a set in a listpack: 7.2) and later, and into Valkey.
//! Nothing is compressed. A collection is begun with its count; the caller then puts exactly
//! that many elements, of which no two may be the same member or field.

use super::object::{NODE_PACKED, NODE_PLAIN};
use super::primitive::{put_length, put_raw_string, put_string};
use super::value_type;

/// Writes a string, as an integer if it is one of 32 bits.
pub fn put_string_object(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(value_type::STRING);
    put_string(out, bytes, false);
}

/// Writes a value that is one block: an intset (type 11) or a listpack of a hash (16), sorted
/// set (17) or set (20).
pub fn put_blob(out: &mut Vec<u8>, type_byte: u8, block: &[u8]) {
    assert!(
        matches!(
            type_byte,
            value_type::SET_INTSET
                | value_type::HASH_LISTPACK
                | value_type::ZSET_LISTPACK
                | value_type::SET_LISTPACK
        ),
        "type {type_byte} is not one block"
    );
    out.push(type_byte);
    put_raw_string(out, block);
}

/// Begins a list of `node_count` nodes, to be put with [`put_list_node`].
pub fn begin_list(out: &mut Vec<u8>, node_count: usize) {
    begin(out, value_type::LIST_QUICKLIST_2, node_count);
}

/// Writes a node of a list: a listpack if `packed`, or else one element, which must not be empty.
pub fn put_list_node(out: &mut Vec<u8>, packed: bool, bytes: &[u8]) {
    debug_assert!(!bytes.is_empty(), "no server reads an empty list node");
    put_length(out, if packed { NODE_PACKED } else { NODE_PLAIN });
    put_raw_string(out, bytes);
}

/// Begins a set of `count` members, to be put with [`put_member`].
pub fn begin_set(out: &mut Vec<u8>, count: usize) {
    begin(out, value_type::SET, count);
}

/// Writes a member of a set.
pub fn put_member(out: &mut Vec<u8>, member: &[u8]) {
    put_string(out, member, false);
}

/// Begins a hash of `count` fields, to be put with [`put_field`].
pub fn begin_hash(out: &mut Vec<u8>, count: usize) {
    begin(out, value_type::HASH, count);
}

/// Writes a field of a hash and its value.
pub fn put_field(out: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    put_string(out, field, false);
    put_string(out, value, false);
}

/// Begins a sorted set of `count` members, to be put with [`put_scored_member`]; the servers
/// themselves write the highest score first.
pub fn begin_zset2(out: &mut Vec<u8>, count: usize) {
    begin(out, value_type::ZSET_2, count);
}

/// Writes a member of a sorted set and its score, which must not be NaN.
pub fn put_scored_member(out: &mut Vec<u8>, member: &[u8], score: f64) {
    debug_assert!(!score.is_nan(), "no server reads a score of NaN");
    put_string(out, member, false);
    out.extend_from_slice(&score.to_le_bytes());
}

fn begin(out: &mut Vec<u8>, type_byte: u8, count: usize) {
    debug_assert!(count > 0, "no server reads an empty collection");
    out.push(type_byte);
    put_length(out, count as u64);
}
