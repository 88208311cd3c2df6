//! Lists, the blocking ones among them.
//!
//! A blocking command runs its plain sibling's code; when there is nothing to
//! take it asks to wait, and is run again once one of its keys has changed.
//! What it took enters the log as the plain command would (I2).

mod blmove;
mod blmpop;
mod blpop;
mod lindex;
mod linsert;
mod llen;
mod lmove;
mod lmpop;
mod lpos;
mod lrange;
mod lrem;
mod lset;
mod ltrim;
mod pop;
mod push;

use super::args::is;
use super::command::Command;
use super::error::{CommandError, CommandResult};
use crate::keyspace::db::Db;
use crate::keyspace::list::{Direction, End, List};
use crate::keyspace::listpack::Entry;
use crate::keyspace::recorder::class;
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &blmove::BLMOVE,
    &blmove::BRPOPLPUSH,
    &blmpop::COMMAND,
    &blpop::BLPOP,
    &blpop::BRPOP,
    &lindex::COMMAND,
    &linsert::COMMAND,
    &llen::COMMAND,
    &lmove::LMOVE,
    &lmove::RPOPLPUSH,
    &lmpop::COMMAND,
    &lpos::COMMAND,
    &lrange::COMMAND,
    &lrem::COMMAND,
    &lset::COMMAND,
    &ltrim::COMMAND,
    &pop::LPOP,
    &pop::RPOP,
    &push::LPUSH,
    &push::LPUSHX,
    &push::RPUSH,
    &push::RPUSHX,
];

/// The end that LEFT or RIGHT means.
fn end_of(arg: &[u8]) -> Result<End, CommandError> {
    if is(arg, "left") {
        Ok(End::Front)
    } else if is(arg, "right") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The command that takes from an end.
fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// Writes an element as a bulk string.
#[inline]
fn reply_element(reply: &mut ReplyBuffer, element: Entry<'_>) {
    match element {
        Entry::Int(number) => reply.bulk_integer(number),
        Entry::Str(bytes) => reply.bulk(bytes),
    }
}

/// Notes that elements were added at an end.
#[inline]
fn note_push(db: &mut Db<'_>, end: End, key: &[u8]) {
    let event = match end {
        End::Front => "lpush",
        End::Back => "rpush",
    };
    db.changed(class::LIST, event, key);
}

/// Notes that elements were taken from an end, and removes the list if it is
/// empty now.
#[inline]
fn note_pop(db: &mut Db<'_>, end: End, key: &[u8], is_empty: bool) -> CommandResult {
    let event = match end {
        End::Front => "lpop",
        End::Back => "rpop",
    };
    db.changed(class::LIST, event, key);
    remove_emptied(db, key, is_empty)
}

/// Removes a list whose last element is gone.
#[inline]
fn remove_emptied(db: &mut Db<'_>, key: &[u8], is_empty: bool) -> CommandResult {
    if is_empty {
        db.delete(key)?;
        // Part of the change that emptied it, so no change of its own.
        db.event(class::GENERIC, "del", key);
    }
    Ok(())
}

/// Takes up to `count` elements from an end, and writes them as an array in
/// the order in which they were taken. Returns how many.
fn take_many(list: &mut List, end: End, count: i64, reply: &mut ReplyBuffer) -> usize {
    let len = list.len();
    let taken = usize::try_from(count).unwrap_or(0).min(len);
    let mut elements = match end {
        End::Front => list.iter_from(0, Direction::Forward),
        End::Back => list.iter_from(len.saturating_sub(1), Direction::Reverse),
    };
    reply.array(taken);
    elements
        .by_ref()
        .take(taken)
        .for_each(|element| reply_element(reply, element));
    match end {
        End::Front => list.trim(taken as i64, -1),
        End::Back => list.trim(0, -1 - taken as i64),
    }
    taken
}
