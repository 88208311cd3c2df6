//! LPOP, RPOP: take elements from an end.

use super::{note_pop, reply_element, take_many};
use crate::commands::args::integer_between;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::list::End;

/// What the two have in common.
const BASE: Command = Command {
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N), when N is the number of elements taken",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "access", "delete"])],
    args: &[
        Arg::key("key"),
        Arg::integer("count").optional().since("6.2.0"),
    ],
    ..Command::BASE
};

/// LPOP key [count]
pub const LPOP: Command = Command {
    name: "lpop",
    summary: "Takes one or more elements from the front of a list.",
    run: |ctx, args| pop(ctx, args, End::Front),
    ..BASE
};

/// RPOP key [count]
pub const RPOP: Command = Command {
    name: "rpop",
    summary: "Takes one or more elements from the back of a list.",
    run: |ctx, args| pop(ctx, args, End::Back),
    ..BASE
};

#[inline]
fn pop(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    match args {
        [_, key] => pop_one(ctx, key, end),
        [_, key, count] => pop_many(ctx, key, count, end),
        _ => Err(CommandError::Arity(
            if end == End::Front { "lpop" } else { "rpop" }.to_string(),
        )),
    }
}

#[inline]
fn pop_one(ctx: &mut Context<'_>, key: &[u8], end: End) -> CommandResult {
    let reply = &mut *ctx.reply;
    let Some(list) = ctx.db.list_mut(key)? else {
        reply.null();
        return Ok(());
    };
    list.pop(end, |element| reply_element(reply, element));
    let is_empty = list.is_empty();
    note_pop(&mut ctx.db, end, key, is_empty)
}

fn pop_many(ctx: &mut Context<'_>, key: &[u8], count: &[u8], end: End) -> CommandResult {
    let count = integer_between(
        count,
        0..=i64::MAX,
        "value is out of range, must be positive",
    )?;
    let Some(list) = ctx.db.list_mut(key)? else {
        ctx.reply.null_array();
        return Ok(());
    };
    if count == 0 {
        ctx.reply.array(0);
        return Ok(());
    }
    take_many(list, end, count, ctx.reply);
    let is_empty = list.is_empty();
    note_pop(&mut ctx.db, end, key, is_empty)
}
