//! HSTRLEN: how long a field's value is.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// HSTRLEN key field
pub const COMMAND: Command = Command {
    name: "hstrlen",
    group: Group::Hash,
    since: "3.2.0",
    summary: "Tells how many bytes the value of a field has.",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key"), Arg::string("field")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let hash = ctx.db.hash(args[1])?;
    let len = hash.and_then(|hash| hash.value_len(args[2]));
    ctx.reply.integer(len.unwrap_or(0) as i64);
    Ok(())
}
