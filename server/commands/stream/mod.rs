//! Streams: entries under ascending ids, and consumer groups that share them.
//!
//! What a group hands out depends on the clock and on who asked. So XREADGROUP,
//! XCLAIM and XAUTOCLAIM enter the log as what came of them: XCLAIM with times
//! and counts, XACK, XGROUP SETID and CREATECONSUMER (`outcome.rs`, I2).

mod ids;
mod options;
mod outcome;
mod xack;
mod xadd;
mod xautoclaim;
mod xclaim;
mod xdel;
mod xgroup;
mod xinfo;
mod xinfo_full;
mod xlen;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

use super::command::Command;
use super::error::CommandError;
use crate::keyspace::listpack::Entry as Item;
use crate::keyspace::stream::{StreamEntry, StreamId};
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &xack::COMMAND,
    &xadd::COMMAND,
    &xautoclaim::COMMAND,
    &xclaim::COMMAND,
    &xdel::COMMAND,
    &xgroup::COMMAND,
    &xinfo::COMMAND,
    &xlen::COMMAND,
    &xpending::COMMAND,
    &xrange::XRANGE,
    &xrange::XREVRANGE,
    &xread::COMMAND,
    &xreadgroup::COMMAND,
    &xsetid::COMMAND,
    &xtrim::COMMAND,
];

fn reply_id(reply: &mut ReplyBuffer, id: StreamId) {
    reply.bulk(&id.text());
}

fn reply_item(reply: &mut ReplyBuffer, item: Item<'_>) {
    match item {
        Item::Int(int) => reply.bulk_integer(int),
        Item::Str(bytes) => reply.bulk(bytes),
    }
}

/// An entry: its id, then its names and values in turn.
fn reply_entry(reply: &mut ReplyBuffer, entry: StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.fields.len());
    for (name, value) in entry.fields {
        reply_item(reply, name);
        reply_item(reply, value);
    }
}

/// An array of entries.
fn reply_entries<'a>(reply: &mut ReplyBuffer, entries: impl Iterator<Item = StreamEntry<'a>>) {
    let array = reply.defer();
    let mut len = 0;
    for entry in entries {
        reply_entry(reply, entry);
        len += 1;
    }
    reply.finish_array(array, len);
}

/// A count of which 0 or less means any number.
fn any_if_zero(count: i64) -> usize {
    match usize::try_from(count) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(count) => count,
    }
}

/// There is no such key, or the stream has no such group.
fn no_group(key: &[u8], group: &[u8], rest: &str) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::text(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}'{rest}"
    ))
}

/// The stream has no such group.
fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::text(format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    ))
}

/// A subcommand's arguments fit none of its forms.
fn subcommand_syntax(container: &str, subcommand: &[u8]) -> CommandError {
    let word = String::from_utf8_lossy(subcommand);
    CommandError::err(format!(
        "unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."
    ))
}
