//! XLEN: counts entries.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// XLEN key
pub const COMMAND: Command = Command {
    name: "xlen",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Counts the entries of a stream.",
    complexity: "O(1)",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let len = ctx.db.stream(args[1])?.map_or(0, |s| s.entries.len());
    ctx.reply.integer(len as i64);
    Ok(())
}
