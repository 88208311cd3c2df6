//! ZMSCORE: the scores of several members.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ZMSCORE key member [member ...]
pub const COMMAND: Command = Command {
    name: "zmscore",
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the scores of several members of a sorted set.",
    complexity: "O(N), N being the number of members asked for.",
    arity: -3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let zset = ctx.db.zset(args[1])?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}
