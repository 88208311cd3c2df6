//! Hashes.

mod fields;
mod hdel;
mod hexists;
mod hexpire;
mod hget;
mod hgetall;
mod hgetdel;
mod hgetex;
mod hincrby;
mod hincrbyfloat;
mod hlen;
mod hmget;
mod hpersist;
mod hrandfield;
mod hscan;
mod hset;
mod hsetex;
mod hsetnx;
mod hstrlen;
mod httl;

use super::command::Command;
use crate::keyspace::listpack::Entry;
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &hdel::COMMAND,
    &hexists::COMMAND,
    &hexpire::HEXPIRE,
    &hexpire::HEXPIREAT,
    &httl::HEXPIRETIME,
    &hget::COMMAND,
    &hgetall::HGETALL,
    &hgetdel::COMMAND,
    &hgetex::COMMAND,
    &hgetall::HKEYS,
    &hgetall::HVALS,
    &hincrby::COMMAND,
    &hincrbyfloat::COMMAND,
    &hlen::COMMAND,
    &hmget::COMMAND,
    &hpersist::COMMAND,
    &hexpire::HPEXPIRE,
    &hexpire::HPEXPIREAT,
    &httl::HPEXPIRETIME,
    &httl::HPTTL,
    &hrandfield::COMMAND,
    &hscan::COMMAND,
    &hset::HMSET,
    &hset::HSET,
    &hsetex::COMMAND,
    &hsetnx::COMMAND,
    &hstrlen::COMMAND,
    &httl::HTTL,
];

/// Replies a field or a value.
#[inline]
fn put(reply: &mut ReplyBuffer, element: Entry<'_>) {
    match element {
        Entry::Int(number) => reply.bulk_integer(number),
        Entry::Str(bytes) => reply.bulk(bytes),
    }
}
