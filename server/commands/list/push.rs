//! LPUSH, RPUSH, LPUSHX, RPUSHX: add elements at an end.

use super::note_push;
use crate::commands::command::acl;
use crate::commands::command::{Arg, Command, Group, KeySpec, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::list::{End, List};

/// What the four have in common.
const BASE: Command = Command {
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[Arg::key("key"), Arg::string("element").multiple()],
    ..Command::BASE
};

/// LPUSH key element [element …]
pub const LPUSH: Command = Command {
    name: "lpush",
    summary: "Adds elements at the front of a list, which is made if need be.",
    run: |ctx, args| push(ctx, args, End::Front),
    ..BASE
};

/// RPUSH key element [element …]
pub const RPUSH: Command = Command {
    name: "rpush",
    summary: "Adds elements at the back of a list, which is made if need be.",
    run: |ctx, args| push(ctx, args, End::Back),
    ..BASE
};

/// LPUSHX key element [element …]
pub const LPUSHX: Command = Command {
    name: "lpushx",
    since: "2.2.0",
    summary: "Adds elements at the front of a list if there is one.",
    run: |ctx, args| push_existing(ctx, args, End::Front),
    ..BASE
};

/// RPUSHX key element [element …]
pub const RPUSHX: Command = Command {
    name: "rpushx",
    since: "2.2.0",
    summary: "Adds elements at the back of a list if there is one.",
    run: |ctx, args| push_existing(ctx, args, End::Back),
    ..BASE
};

#[inline]
fn push(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    let len = add(ctx.db.list_or_new(args[1])?, args, end);
    ctx.reply.integer(len as i64);
    note_push(&mut ctx.db, end, args[1]);
    Ok(())
}

fn push_existing(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    let Some(list) = ctx.db.list_mut(args[1])? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let len = add(list, args, end);
    ctx.reply.integer(len as i64);
    note_push(&mut ctx.db, end, args[1]);
    Ok(())
}

/// Adds the command's elements; returns the list's new length.
#[inline]
fn add(list: &mut List, args: &[&[u8]], end: End) -> usize {
    match &args[2..] {
        [element] => list.push(end, element),
        elements => list.push_all(end, elements.iter().copied()),
    }
    list.len()
}
