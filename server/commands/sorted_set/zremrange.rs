//! ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX: remove a range.

use super::bounds::Bounds;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

const COMPLEXITY: &str =
    "O(log(N)+M), N being the size of the set and M the number of members removed.";

/// ZREMRANGEBYRANK key start stop
pub const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Removes the members in a range of places.",
    complexity: COMPLEXITY,
    arity: 4,
    flags: flag::WRITE,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    run: |ctx, args| {
        let bounds = Bounds::rank(args[2], args[3])?;
        run(ctx, args[1], bounds, "zremrangebyrank")
    },
    ..Command::BASE
};

/// ZREMRANGEBYSCORE key min max
pub const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    since: "1.2.0",
    summary: "Removes the members with a score in a range.",
    args: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
    run: |ctx, args| {
        let bounds = Bounds::score(args[2], args[3])?;
        run(ctx, args[1], bounds, "zremrangebyscore")
    },
    ..ZREMRANGEBYRANK
};

/// ZREMRANGEBYLEX key min max
pub const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    since: "2.8.9",
    summary: "Removes the members in a lexicographic range, where all scores are equal.",
    args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    run: |ctx, args| {
        let bounds = Bounds::lex(args[2], args[3])?;
        run(ctx, args[1], bounds, "zremrangebylex")
    },
    ..ZREMRANGEBYRANK
};

fn run(
    ctx: &mut Context<'_>,
    key: &[u8],
    bounds: Bounds<'_>,
    event: &'static str,
) -> CommandResult {
    let removed = match ctx.db.zset_mut(key)? {
        None => 0,
        Some(zset) => {
            let ranks = bounds.ranks(zset, false);
            zset.remove_ranks(ranks, |_, _| {})
        }
    };
    if removed != 0 {
        ctx.db.changed(class::ZSET, event, key);
        if ctx.db.remove_if_empty(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
        }
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}
