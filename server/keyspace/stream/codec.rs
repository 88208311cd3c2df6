//! A stream to and from RDB objects; the format is described in the
//! persistence crate's `rdb/stream.rs`.

use redoubt_persistence::rdb::primitive::{put_length, put_raw_string, put_string};
use redoubt_persistence::rdb::stream::{StreamGroup, StreamObject};
use redoubt_persistence::rdb::value_type;

use super::node::Node;
use super::{Consumer, Entries, Group, Pending, Stream, StreamId};
use crate::keyspace::listpack::Listpack;
use crate::keyspace::pieces::Note;

/// Writes a stream as Redis 7.2 and Valkey do: type byte and body.
pub fn encode(stream: &Stream, out: &mut Vec<u8>) {
    let entries = &stream.entries;
    out.push(value_type::STREAM_LISTPACKS_3);
    put_length(out, entries.nodes.len() as u64);
    for (id, node) in &entries.nodes {
        put_node(out, *id, node.pack());
    }
    put_counts(out, entries);
    put_groups(out, stream);
}

/// Appends a node.
pub fn put_node(out: &mut Vec<u8>, id: StreamId, node: &Listpack) {
    put_raw_string(out, &id.number().to_be_bytes());
    put_raw_string(out, node.as_bytes());
}

/// Appends what comes behind the nodes.
pub fn put_counts(out: &mut Vec<u8>, entries: &Entries) {
    put_length(out, entries.len);
    put_id(out, entries.last_id);
    put_id(out, entries.first_id);
    put_id(out, entries.max_deleted_id);
    put_length(out, entries.added);
}

/// Appends the groups, which are the end of it.
pub fn put_groups(out: &mut Vec<u8>, stream: &Stream) {
    put_length(out, stream.groups.len() as u64);
    for (name, group) in &stream.groups {
        put_string(out, name, false);
        put_group(out, group);
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_id(out, group.last_id);
    put_length(out, group.entries_read.unwrap_or(-1) as u64);
    put_length(out, group.pending_len() as u64);
    for (id, entry) in group.pending_from(StreamId::MIN) {
        out.extend_from_slice(&id.number().to_be_bytes());
        out.extend_from_slice(&entry.delivered_ms.to_le_bytes());
        put_length(out, entry.deliveries);
    }
    put_length(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        put_string(out, &consumer.name, false);
        put_consumer(out, consumer);
    }
}

fn put_consumer(out: &mut Vec<u8>, consumer: &Consumer) {
    out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
    out.extend_from_slice(&consumer.active_ms.unwrap_or(-1).to_le_bytes());
    put_length(out, consumer.pending_len() as u64);
    for id in consumer.pending_from(StreamId::MIN) {
        out.extend_from_slice(&id.number().to_be_bytes());
    }
}

impl From<StreamObject> for Stream {
    fn from(object: StreamObject) -> Stream {
        let mut stream = Stream::new();
        let nodes = object.nodes.into_iter();
        stream.entries = Entries {
            nodes: nodes
                .map(|(id, bytes)| (id.into(), Node::from_valid_bytes(&bytes)))
                .collect(),
            len: object.length,
            last_id: object.last_id.into(),
            first_id: object.first_id.into(),
            max_deleted_id: object.max_deleted_id.into(),
            added: object.entries_added,
            note: Note::default(),
        };
        for group in object.groups {
            let name = group.name.as_slice().into();
            let group = group_of(group, &stream.entries);
            stream.groups.insert(name, group);
        }
        stream
    }
}

fn group_of(object: StreamGroup, entries: &Entries) -> Group {
    let last_id = object.last_id.into();
    let entries_read = match object.entries_read {
        None => entries.count_up_to(last_id),
        Some(read) => (read != -1).then_some(read),
    };
    let mut group = Group::new(last_id, entries_read);
    let mut ids = Vec::with_capacity(object.consumers.len());
    for consumer in &object.consumers {
        let id = group.add_consumer(&consumer.name, consumer.seen_ms);
        let id = id.expect("no two consumers of a valid object have one name");
        group.consumer_mut(id).active_ms = (consumer.active_ms != -1).then_some(consumer.active_ms);
        ids.push(id);
    }
    for entry in &object.pending {
        let pending = Pending {
            delivered_ms: entry.delivered_ms,
            deliveries: entry.deliveries,
            consumer: ids[entry.consumer],
        };
        group.assign(entry.id.into(), pending);
    }
    group
}
