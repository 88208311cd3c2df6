//! HEXISTS: whether a hash has a field.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// HEXISTS key field
pub const COMMAND: Command = Command {
    name: "hexists",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Tells whether a hash has a field.",
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
    let exists = hash.is_some_and(|hash| hash.contains(args[2]));
    ctx.reply.integer(i64::from(exists));
    Ok(())
}
