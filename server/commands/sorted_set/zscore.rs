//! ZSCORE: a member's score.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ZSCORE key member
pub const COMMAND: Command = Command {
    name: "zscore",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the score of a member of a sorted set.",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("member")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let zset = ctx.db.zset(args[1])?;
    match zset.and_then(|zset| zset.score(args[2])) {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(())
}
