//! Hashes.

mod hdel;
mod hexists;
mod hget;
mod hgetall;
mod hgetdel;
mod hincrby;
mod hincrbyfloat;
mod hlen;
mod hmget;
mod hrandfield;
mod hscan;
mod hset;
mod hsetnx;
mod hstrlen;

use super::command::Command;
use crate::keyspace::listpack::Entry;
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &hdel::COMMAND,
    &hexists::COMMAND,
    &hget::COMMAND,
    &hgetall::HGETALL,
    &hgetdel::COMMAND,
    &hgetall::HKEYS,
    &hgetall::HVALS,
    &hincrby::COMMAND,
    &hincrbyfloat::COMMAND,
    &hlen::COMMAND,
    &hmget::COMMAND,
    &hrandfield::COMMAND,
    &hscan::COMMAND,
    &hset::HMSET,
    &hset::HSET,
    &hsetnx::COMMAND,
    &hstrlen::COMMAND,
];

/// Replies a field or a value.
#[inline]
fn put(reply: &mut ReplyBuffer, element: Entry<'_>) {
    match element {
        Entry::Int(number) => reply.bulk_integer(number),
        Entry::Str(bytes) => reply.bulk(bytes),
    }
}
