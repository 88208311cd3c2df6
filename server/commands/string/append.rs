//! APPEND: adds to the end of a string.

use super::length_within_limit;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// APPEND key value
pub const COMMAND: Command = Command {
    name: "append",
    group: Group::String,
    since: "2.0.0",
    summary: "Adds to the end of a string, or begins one.",
    complexity: "O(1) on average: room is added in ever larger steps.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[Arg::key("key"), Arg::string("value")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, value) = (args[1], args[2]);
    let len = match ctx.db.peek_string(key)?.map(|old| old.len()) {
        None => {
            ctx.db.set_string(key, value, None)?;
            value.len()
        }
        Some(old) => {
            let len = length_within_limit(ctx, old, value.len())?;
            ctx.db.string_mut(key)?.extend_from_slice(value);
            len
        }
    };
    ctx.db.changed(class::STRING, "append", key);
    ctx.reply.integer(len as i64);
    Ok(())
}
