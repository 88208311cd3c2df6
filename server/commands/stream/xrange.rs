//! XRANGE, XREVRANGE: entries between two ids.

use super::{any_if_zero, ids, reply_entries};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// What the two have in common.
const BASE: Command = Command {
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) for N entries given.",
    arity: -4,
    flags: flag::READONLY,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    ..Command::BASE
};

/// XRANGE key start end [COUNT count]
pub const XRANGE: Command = Command {
    name: "xrange",
    summary: "Gives the entries between two ids.",
    args: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("end"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    run: |ctx, args| range(ctx, args, false),
    ..BASE
};

/// XREVRANGE key end start [COUNT count]
pub const XREVRANGE: Command = Command {
    name: "xrevrange",
    summary: "Gives the entries between two ids, the last one first.",
    args: &[
        Arg::key("key"),
        Arg::string("end"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    run: |ctx, args| range(ctx, args, true),
    ..BASE
};

fn range(ctx: &mut Context<'_>, args: &[&[u8]], reverse: bool) -> CommandResult {
    let (start, end) = match reverse {
        false => (args[2], args[3]),
        true => (args[3], args[2]),
    };
    let (start, end) = (ids::start(start)?, ids::end(end)?);
    let mut count = None;
    for option in args[4..].chunks(2) {
        match option {
            [word, number] if is(word, "count") => count = Some(integer(number)?),
            _ => return Err(CommandError::Syntax),
        }
    }
    let Some(stream) = ctx.db.stream(args[1])? else {
        ctx.reply.array(0);
        return Ok(());
    };
    if count.is_some_and(|count| count <= 0) {
        ctx.reply.null_array();
        return Ok(());
    }
    let entries = match reverse {
        false => stream.entries.range(start, end),
        true => stream.entries.range_reverse(start, end),
    };
    reply_entries(ctx.reply, entries.take(any_if_zero(count.unwrap_or(0))));
    Ok(())
}
