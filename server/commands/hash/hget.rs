//! HGET: the value of a field.

use super::put;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// HGET key field
pub const COMMAND: Command = Command {
    name: "hget",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns the value of a field of a hash.",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("field")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let hash = ctx.db.hash(args[1])?;
    match hash.and_then(|hash| hash.get(args[2])) {
        None => ctx.reply.null(),
        Some(value) => put(ctx.reply, value),
    }
    Ok(())
}
