//! XINFO STREAM FULL: everything about a stream, down to its consumers.

use super::xinfo::{reply_figures, reply_progress};
use super::{reply_entries, reply_id};
use crate::keyspace::stream::{Consumer, Entries, Group, Stream, StreamId};
use crate::resp::reply::ReplyBuffer;

/// Writes it all, with up to `count` entries, and as many not acknowledged by
/// each group and consumer.
pub fn reply(stream: &Stream, count: usize, reply: &mut ReplyBuffer) {
    reply.map(9);
    reply_figures(reply, &stream.entries);
    reply.bulk(b"entries");
    let entries = stream.entries.range(StreamId::MIN, StreamId::MAX);
    reply_entries(reply, entries.take(count));
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_group(&stream.entries, group, count, reply);
    }
}

fn reply_group(entries: &Entries, group: &Group, count: usize, reply: &mut ReplyBuffer) {
    reply_progress(reply, entries, group);
    reply.bulk(b"pel-count");
    reply.integer(group.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(count));
    for (id, entry) in group.pending_from(StreamId::MIN).take(count) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(&group.consumer(entry.consumer).name);
        reply.integer(entry.delivered_ms);
        reply.integer(entry.deliveries as i64);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply_consumer(group, consumer, count, reply);
    }
}

fn reply_consumer(group: &Group, consumer: &Consumer, count: usize, reply: &mut ReplyBuffer) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(&consumer.name);
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_ms);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_ms.unwrap_or(-1));
    reply.bulk(b"pel-count");
    reply.integer(consumer.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let pending = group.pending(id);
        reply.array(3);
        reply_id(reply, id);
        reply.integer(pending.map_or(0, |entry| entry.delivered_ms));
        reply.integer(pending.map_or(0, |entry| entry.deliveries as i64));
    }
}
