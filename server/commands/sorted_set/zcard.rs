//! ZCARD: how many members a sorted set has.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ZCARD key
pub const COMMAND: Command = Command {
    name: "zcard",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns how many members a sorted set has.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let count = ctx.db.zset(args[1])?.map_or(0, |zset| zset.len());
    ctx.reply.integer(count as i64);
    Ok(())
}
