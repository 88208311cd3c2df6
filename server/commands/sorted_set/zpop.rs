//! ZPOPMIN and ZPOPMAX: take the members with the lowest or highest scores.

use super::pop::{End, Shape, pop};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::resp::Protocol;

/// ZPOPMIN key [count]
pub const ZPOPMIN: Command = Command {
    name: "zpopmin",
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Removes and returns the members with the lowest scores.",
    complexity: "O(log(N)*M), N being the size of the set and M the number of members removed.",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RW", "access", "delete"])],
    args: &[Arg::key("key"), Arg::integer("count").optional()],
    run: |ctx, args| run(ctx, args, End::Min),
    ..Command::BASE
};

/// ZPOPMAX key [count]
pub const ZPOPMAX: Command = Command {
    name: "zpopmax",
    summary: "Removes and returns the members with the highest scores.",
    run: |ctx, args| run(ctx, args, End::Max),
    ..ZPOPMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    let key = args[1];
    let count = match args[2..] {
        [] => None,
        [count] => {
            let text = "value is out of range, must be positive";
            let count = args::integer_between(count, 0..=i64::MAX, text)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        }
        _ => return Err(CommandError::Syntax),
    };
    let shape = match (count, ctx.reply.protocol) {
        (Some(_), Protocol::Resp3) => Shape::Nested,
        _ => Shape::Flat,
    };
    let popped = match count {
        Some(0) => {
            // Of the wrong type it is an error nevertheless.
            ctx.db.zset(key)?;
            false
        }
        count => pop(ctx, key, end, count.unwrap_or(1), shape)?,
    };
    if !popped {
        ctx.reply.array(0);
    }
    Ok(())
}
