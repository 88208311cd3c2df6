//! A stream's body: nodes of packed entries, counters, and consumer groups.
//!
//! | part | what |
//! |---|---|
//! | count; for each node: string of 16 bytes, string | id of its first entry, big-endian; listpack |
//! | length; 2 lengths | how many entries; the last id given (milliseconds, sequence) |
//! | 5 lengths, from type 19 on | first id; largest id deleted; how many entries were ever added |
//! | count; groups | name, last id delivered, entries read (from 19 on), pending entries, consumers |
//!
//! A pending entry is 16 bytes of id, 8 of delivery time, and a length: how often it was delivered.
//! A consumer is its name, when it was seen and (type 21) active last in 8 bytes each, and the ids
//! of the pending entries that are its own.
//!
//! A node's listpack: `live, deleted, N, N names, 0`, then entries `flags, ms, seq, [fields], …,
//! count`: the id relative to the node's, as differences; with flag 2 only the values of the
//! node's N fields, else their number, then names and values; flag 1 marks what was deleted;
//! `count` is the number of listpack elements before it. Source: `t_stream.c` of Valkey.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, HashSet};

use super::listpack::{self, Item};
use super::primitive::Reader;
use super::{RdbError, value_type};

/// An entry's id: milliseconds and sequence number.
pub type EntryId = (u64, u64);

/// Flag of an entry that was deleted.
const DELETED: i64 = 1;
/// Flag of an entry whose field names are the node's.
const SAME_FIELDS: i64 = 2;
/// Elements of every entry besides fields: flags, two differences.
const FIXED_ELEMENTS: usize = 3;

const CORRUPT_NODE: RdbError = RdbError::Corrupt("malformed node of a stream");

/// A stream, whole and valid: ids ascend, counts agree, every pending entry has one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamObject {
    /// Ids and listpacks of the nodes, ascending.
    pub nodes: Vec<(EntryId, Vec<u8>)>,
    /// How many entries there are, deleted ones not counted.
    pub length: u64,
    /// The last id given.
    pub last_id: EntryId,
    /// The first entry's id, 0-0 when there is none.
    pub first_id: EntryId,
    /// The largest id of a deleted entry.
    pub max_deleted_id: EntryId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// Consumer groups.
    pub groups: Vec<StreamGroup>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamGroup {
    /// Its name.
    pub name: Vec<u8>,
    /// The last id delivered.
    pub last_id: EntryId,
    /// How many entries it has read, -1 when that is not known; None in a type that doesn't say.
    pub entries_read: Option<i64>,
    /// Entries delivered and not acknowledged, each with its consumer's index.
    pub pending: Vec<PendingEntry>,
    /// Its consumers.
    pub consumers: Vec<StreamConsumer>,
}

/// An entry delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEntry {
    /// The entry.
    pub id: EntryId,
    /// When it was delivered last, Unix time in milliseconds.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Which of the group's consumers has it.
    pub consumer: usize,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConsumer {
    /// Its name.
    pub name: Vec<u8>,
    /// When it last tried to read or claim, Unix time in milliseconds.
    pub seen_ms: i64,
    /// When it last got something, -1 for never.
    pub active_ms: i64,
}

/// What a node was found to hold.
struct Node {
    live: u64,
    first_live: Option<EntryId>,
    last: EntryId,
}

/// Takes the body of a stream of type 15, 19 or 21 from `reader`.
pub(super) fn read_stream(
    reader: &mut Reader<'_>,
    type_byte: u8,
) -> Result<StreamObject, RdbError> {
    let mut nodes: Vec<(EntryId, Vec<u8>)> = Vec::new();
    let (mut live, mut first_live, mut last) = (0, None, None);
    for _ in 0..count_from_zero(reader, 2)? {
        let id = node_id(&reader.string()?)?;
        let listpack = reader.string()?.into_owned();
        let node = check_node(id, &listpack)?;
        if last.is_some_and(|last| id <= last) {
            return Err(RdbError::Corrupt("nodes of a stream out of order"));
        }
        live += node.live;
        first_live = first_live.or(node.first_live);
        last = Some(node.last);
        nodes.push((id, listpack));
    }
    let length = reader.length()?;
    let last_id = id_of_lengths(reader)?;
    let (mut max_deleted_id, mut entries_added) = ((0, 0), length);
    if type_byte >= value_type::STREAM_LISTPACKS_2 {
        id_of_lengths(reader)?;
        max_deleted_id = id_of_lengths(reader)?;
        entries_added = reader.length()?;
    }
    if length != live {
        return Err(RdbError::Corrupt("wrong length of a stream"));
    }
    if last.is_some_and(|last| last > last_id) {
        return Err(RdbError::Corrupt("last id of a stream too small"));
    }
    let mut groups = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count_from_zero(reader, 5)? {
        let group = read_group(reader, type_byte)?;
        if !names.insert(group.name.clone()) {
            return Err(RdbError::Duplicate);
        }
        groups.push(group);
    }
    Ok(StreamObject {
        nodes,
        length,
        last_id,
        first_id: first_live.unwrap_or((0, 0)),
        max_deleted_id,
        entries_added,
        groups,
    })
}

/// A count that may be zero, of parts of at least `bytes_each` bytes.
fn count_from_zero(reader: &mut Reader<'_>, bytes_each: usize) -> Result<usize, RdbError> {
    let count = reader.length()?;
    if count > (reader.remaining() / bytes_each) as u64 {
        return Err(RdbError::Truncated);
    }
    Ok(count as usize)
}

fn node_id(bytes: &[u8]) -> Result<EntryId, RdbError> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| RdbError::Corrupt("id of a stream's node"))?;
    Ok(id_of_bytes(bytes))
}

fn id_of_bytes(bytes: [u8; 16]) -> EntryId {
    let number = u128::from_be_bytes(bytes);
    ((number >> 64) as u64, number as u64)
}

fn id_of_lengths(reader: &mut Reader<'_>) -> Result<EntryId, RdbError> {
    Ok((reader.length()?, reader.length()?))
}

/// Reads a node through: its head, every entry, the counts.
fn check_node(id: EntryId, listpack: &[u8]) -> Result<Node, RdbError> {
    let mut items = listpack::iter(listpack)?;
    let (live, deleted) = (count_in(&mut items)?, count_in(&mut items)?);
    let fields = count_in(&mut items)?;
    skip(&mut items, fields)?;
    if integer(&mut items)? != 0 {
        return Err(CORRUPT_NODE);
    }
    let mut node = Node {
        live: 0,
        first_live: None,
        last: id,
    };
    let mut dead = 0;
    let mut is_first = true;
    while items.len() > 0 {
        let (flags, entry_id) = check_entry(id, fields, &mut items)?;
        if entry_id < node.last || (entry_id == node.last && !is_first) {
            return Err(RdbError::Corrupt("entries of a stream out of order"));
        }
        is_first = false;
        node.last = entry_id;
        if flags & DELETED != 0 {
            dead += 1;
        } else {
            node.live += 1;
            node.first_live.get_or_insert(entry_id);
        }
    }
    if is_first || node.live != live as u64 || dead != deleted {
        return Err(RdbError::Corrupt("wrong counts in a stream's node"));
    }
    Ok(node)
}

fn check_entry(
    node: EntryId,
    fields_of_node: usize,
    items: &mut listpack::Iter<'_>,
) -> Result<(i64, EntryId), RdbError> {
    let flags = integer(items)?;
    if !(0..=DELETED | SAME_FIELDS).contains(&flags) {
        return Err(CORRUPT_NODE);
    }
    let id = (
        node.0.wrapping_add(integer(items)? as u64),
        node.1.wrapping_add(integer(items)? as u64),
    );
    let elements = if flags & SAME_FIELDS != 0 {
        skip(items, fields_of_node)?;
        FIXED_ELEMENTS + fields_of_node
    } else {
        let fields = count_in(items)?;
        let elements = fields.checked_mul(2).ok_or(CORRUPT_NODE)?;
        skip(items, elements)?;
        FIXED_ELEMENTS + 1 + elements
    };
    if integer(items)? != elements as i64 {
        return Err(CORRUPT_NODE);
    }
    Ok((flags, id))
}

fn integer(items: &mut listpack::Iter<'_>) -> Result<i64, RdbError> {
    match items.next() {
        Some(Item::Int(number)) => Ok(number),
        _ => Err(CORRUPT_NODE),
    }
}

/// A count of things that the listpack still has room for.
fn count_in(items: &mut listpack::Iter<'_>) -> Result<usize, RdbError> {
    match usize::try_from(integer(items)?) {
        Ok(count) if count <= items.len() => Ok(count),
        _ => Err(CORRUPT_NODE),
    }
}

fn skip(items: &mut listpack::Iter<'_>, count: usize) -> Result<(), RdbError> {
    match count {
        0 => Ok(()),
        count => items.nth(count - 1).map(|_| ()).ok_or(CORRUPT_NODE),
    }
}

fn read_group(reader: &mut Reader<'_>, type_byte: u8) -> Result<StreamGroup, RdbError> {
    let name = reader.string()?.into_owned();
    let last_id = id_of_lengths(reader)?;
    let entries_read = match type_byte {
        value_type::STREAM_LISTPACKS => None,
        _ => Some(reader.length()? as i64),
    };
    let mut pending = Vec::new();
    let mut places = HashMap::new();
    for _ in 0..count_from_zero(reader, 25)? {
        let entry = PendingEntry {
            id: id_of_bytes(reader.array()?),
            delivered_ms: i64::from_le_bytes(reader.array()?),
            deliveries: reader.length()?,
            consumer: usize::MAX,
        };
        if places.insert(entry.id, pending.len()).is_some() {
            return Err(RdbError::Duplicate);
        }
        pending.push(entry);
    }
    let mut consumers = Vec::new();
    let mut names = HashSet::new();
    for index in 0..count_from_zero(reader, 10)? {
        let consumer = read_consumer(reader, type_byte)?;
        if !names.insert(consumer.name.clone()) {
            return Err(RdbError::Duplicate);
        }
        consumers.push(consumer);
        for _ in 0..count_from_zero(reader, 16)? {
            let place = places.remove(&id_of_bytes(reader.array()?));
            let place = place.ok_or(RdbError::Corrupt(
                "pending entry of a consumer that its group has not, or twice",
            ))?;
            pending[place].consumer = index;
        }
    }
    if !places.is_empty() {
        return Err(RdbError::Corrupt("pending entry without a consumer"));
    }
    Ok(StreamGroup {
        name,
        last_id,
        entries_read,
        pending,
        consumers,
    })
}

fn read_consumer(reader: &mut Reader<'_>, type_byte: u8) -> Result<StreamConsumer, RdbError> {
    let name = reader.string()?.into_owned();
    let seen_ms = i64::from_le_bytes(reader.array()?);
    let active_ms = match type_byte {
        value_type::STREAM_LISTPACKS_3 => i64::from_le_bytes(reader.array()?),
        _ => seen_ms,
    };
    Ok(StreamConsumer {
        name,
        seen_ms,
        active_ms,
    })
}
