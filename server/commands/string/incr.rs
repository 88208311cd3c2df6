//! INCR, DECR, INCRBY and DECRBY: arithmetic on an integer under a key.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::entry::Value;
use crate::keyspace::recorder::class;

/// INCR key
pub const INCR: Command = Command {
    name: "incr",
    group: Group::String,
    since: "1.0.0",
    summary: "Adds one to the integer under a key, 0 if there is none.",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key")],
    run: |ctx, args| add(ctx, args[1], 1),
    ..Command::BASE
};

/// DECR key
pub const DECR: Command = Command {
    name: "decr",
    group: Group::String,
    since: "1.0.0",
    summary: "Takes one from the integer under a key, 0 if there is none.",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key")],
    run: |ctx, args| add(ctx, args[1], -1),
    ..Command::BASE
};

/// INCRBY key increment
pub const INCRBY: Command = Command {
    name: "incrby",
    group: Group::String,
    since: "1.0.0",
    summary: "Adds to the integer under a key, 0 if there is none.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key"), Arg::integer("increment")],
    run: |ctx, args| add(ctx, args[1], args::integer(args[2])?),
    ..Command::BASE
};

/// DECRBY key decrement
pub const DECRBY: Command = Command {
    name: "decrby",
    group: Group::String,
    since: "1.0.0",
    summary: "Takes from the integer under a key, 0 if there is none.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key"), Arg::integer("decrement")],
    run: decrby,
    ..Command::BASE
};

fn decrby(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let by = args::integer(args[2])?.checked_neg();
    let by = by.ok_or_else(|| CommandError::err("decrement would overflow"))?;
    add(ctx, args[1], by)
}

#[inline]
fn add(ctx: &mut Context<'_>, key: &[u8], by: i64) -> CommandResult {
    let overflow = || CommandError::err("increment or decrement would overflow");
    let new = match ctx.db.int_mut(key)? {
        Some(int) => {
            *int = int.checked_add(by).ok_or_else(overflow)?;
            *int
        }
        None => {
            let old = match ctx.db.peek_string(key)? {
                None => 0,
                Some(string) => args::integer(string.bytes(&mut itoa::Buffer::new()))?,
            };
            let new = old.checked_add(by).ok_or_else(overflow)?;
            let expire_at_ms = ctx.db.expiry(key)?.flatten();
            ctx.db.set_value(key, Value::Int(new), expire_at_ms)?;
            new
        }
    };
    ctx.db.changed(class::STRING, "incrby", key);
    ctx.reply.integer(new);
    Ok(())
}
