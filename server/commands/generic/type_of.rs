//! TYPE: which type of value a key holds.

use super::access::untouched;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// TYPE key
pub const COMMAND: Command = Command {
    name: "type",
    group: Group::Generic,
    summary: "Names the type of the value under a key.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let found = untouched(ctx, args[1], |entry| entry.value_type().name())?;
    ctx.reply.simple(found.unwrap_or("none"));
    Ok(())
}
