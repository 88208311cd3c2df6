//! LLEN: how long a list is.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// LLEN key
pub const COMMAND: Command = Command {
    name: "llen",
    group: Group::List,
    since: "1.0.0",
    summary: "Tells how many elements a list has.",
    complexity: "O(1)",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let len = ctx.db.list(args[1])?.map_or(0, |list| list.len());
    ctx.reply.integer(len as i64);
    Ok(())
}
