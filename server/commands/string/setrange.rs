//! SETRANGE: overwrites a part of a string.

use super::length_within_limit;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// SETRANGE key offset value
pub const COMMAND: Command = Command {
    name: "setrange",
    group: Group::String,
    since: "2.2.0",
    summary: "Overwrites a string from an offset on; a gap is filled with zeros.",
    complexity: "O(M) where M is the length of the value, and of the gap if there is one.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("offset"),
        Arg::string("value"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, value) = (args[1], args[3]);
    let offset = usize::try_from(args::integer(args[2])?)
        .map_err(|_| CommandError::err("offset is out of range"))?;
    let old_len = ctx.db.peek_string(key)?.map_or(0, |old| old.len());
    if value.is_empty() {
        ctx.reply.integer(old_len as i64);
        return Ok(());
    }
    let end = length_within_limit(ctx, offset, value.len())?;
    let string = ctx.db.string_mut(key)?;
    if string.len() < end {
        string.resize(end, 0);
    }
    string[offset..end].copy_from_slice(value);
    let len = string.len();
    ctx.db.changed(class::STRING, "setrange", key);
    ctx.reply.integer(len as i64);
    Ok(())
}
