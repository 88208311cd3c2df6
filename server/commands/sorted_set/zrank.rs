//! ZRANK and ZREVRANK: how many members are before one, or after it.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// ZRANK key member [WITHSCORE]
pub const ZRANK: Command = Command {
    name: "zrank",
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns the place of a member in a sorted set, lowest score first.",
    complexity: "O(log(N)), N being the size of the set.",
    arity: -3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::word("withscore", "WITHSCORE").optional(),
    ],
    run: |ctx, args| run(ctx, args, false),
    ..Command::BASE
};

/// ZREVRANK key member [WITHSCORE]
pub const ZREVRANK: Command = Command {
    name: "zrevrank",
    summary: "Returns the place of a member in a sorted set, highest score first.",
    run: |ctx, args| run(ctx, args, true),
    ..ZRANK
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], reverse: bool) -> CommandResult {
    let with_score = match args[3..] {
        [] => false,
        [word] if args::is(word, "WITHSCORE") => true,
        [_] => return Err(CommandError::Syntax),
        _ => {
            let name = if reverse { "zrevrank" } else { "zrank" };
            return Err(CommandError::Arity(name.to_string()));
        }
    };
    let zset = ctx.db.zset(args[1])?;
    match zset.and_then(|zset| zset.rank(args[2], reverse)) {
        Some((rank, score)) if with_score => {
            ctx.reply.array(2);
            ctx.reply.integer(rank as i64);
            ctx.reply.double(score);
        }
        Some((rank, _)) => ctx.reply.integer(rank as i64),
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(())
}
