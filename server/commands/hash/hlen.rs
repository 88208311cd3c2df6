//! HLEN: how many fields a hash has.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// HLEN key
pub const COMMAND: Command = Command {
    name: "hlen",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Counts the fields of a hash.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let hash = ctx.db.hash(args[1])?;
    ctx.reply.integer(hash.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}
