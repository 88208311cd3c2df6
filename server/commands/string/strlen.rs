//! STRLEN: how long a string is.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// STRLEN key
pub const COMMAND: Command = Command {
    name: "strlen",
    group: Group::String,
    since: "2.2.0",
    summary: "Returns the length of a string in bytes, 0 if there is none.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let len = ctx.db.string(args[1])?.map_or(0, |string| string.len());
    ctx.reply.integer(len as i64);
    Ok(())
}
