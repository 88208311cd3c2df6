//! GETDEL: the string under a key, which is removed.

use super::string_or_null;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// GETDEL key
pub const COMMAND: Command = Command {
    name: "getdel",
    group: Group::String,
    since: "6.2.0",
    summary: "Returns the string under a key and removes the key.",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "delete"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    string_or_null(ctx.reply, ctx.db.string(key)?);
    if ctx.db.delete(key)? {
        ctx.effects.add(&[b"DEL", key]);
        ctx.db.changed(class::GENERIC, "del", key);
    }
    Ok(())
}
