//! SETEX and PSETEX: stores a string that expires.

use super::expiration::expiry_ms;
use super::set::store;
use crate::commands::args::TimeUnit;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// SETEX key seconds value
pub const COMMAND: Command = Command {
    name: "setex",
    group: Group::String,
    since: "2.0.0",
    summary: "Stores a string that expires after some seconds.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["OW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("seconds"),
        Arg::string("value"),
    ],
    run: |ctx, args| run(ctx, args, TimeUnit::Seconds, "setex"),
    ..Command::BASE
};

/// PSETEX key milliseconds value
pub const PSETEX: Command = Command {
    name: "psetex",
    group: Group::String,
    since: "2.6.0",
    summary: "Stores a string that expires after some milliseconds.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["OW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("milliseconds"),
        Arg::string("value"),
    ],
    run: |ctx, args| run(ctx, args, TimeUnit::Millis, "psetex"),
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], unit: TimeUnit, name: &str) -> CommandResult {
    let at_ms = expiry_ms(unit, args[2], ctx.now_ms(), name)?;
    store(ctx, args[1], args[3], false, Some(at_ms))?;
    ctx.reply.ok();
    Ok(())
}
