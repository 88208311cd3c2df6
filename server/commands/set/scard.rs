//! SCARD: how many members a set has.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// SCARD key
pub const COMMAND: Command = Command {
    name: "scard",
    group: Group::Set,
    since: "1.0.0",
    summary: "Counts the members of a set.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let set = ctx.db.set(args[1])?;
    ctx.reply.integer(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}
