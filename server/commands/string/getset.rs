//! GETSET: the string under a key, which is replaced.

use super::string_or_null;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// GETSET key value
pub const COMMAND: Command = Command {
    name: "getset",
    group: Group::String,
    since: "1.0.0",
    summary: "Replaces the string under a key and returns the old one.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key"), Arg::string("value")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, value) = (args[1], args[2]);
    string_or_null(ctx.reply, ctx.db.string(key)?);
    ctx.db.set_string(key, value, None)?;
    // What was there before is nothing to the log.
    ctx.effects.add(&[b"SET", key, value]);
    ctx.db.changed(class::STRING, "set", key);
    Ok(())
}
