//! GET: the string under a key.

use super::string_or_null;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// GET key
pub const COMMAND: Command = Command {
    name: "get",
    group: Group::String,
    since: "1.0.0",
    summary: "Returns the string under a key.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    string_or_null(ctx.reply, ctx.db.string(args[1])?);
    Ok(())
}
