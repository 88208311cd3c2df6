//! ZCOUNT: how many members have a score in a range.

use super::bounds::Bounds;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ZCOUNT key min max
pub const COMMAND: Command = Command {
    name: "zcount",
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Counts the members with a score in a range.",
    complexity: "O(log(N)), N being the size of the set.",
    arity: 4,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
    run: |ctx, args| count(ctx, args[1], Bounds::score(args[2], args[3])?),
    ..Command::BASE
};

/// Replies how many members of the set under `key` are within `bounds`.
pub fn count(ctx: &mut Context<'_>, key: &[u8], bounds: Bounds<'_>) -> CommandResult {
    let zset = ctx.db.zset(key)?;
    let count = zset.map_or(0, |zset| bounds.ranks(zset, false).len());
    ctx.reply.integer(count as i64);
    Ok(())
}
