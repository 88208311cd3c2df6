//! HMGET: the values of several fields.

use super::put;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// HMGET key field [field …]
pub const COMMAND: Command = Command {
    name: "hmget",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns the values of the named fields of a hash.",
    complexity: "O(N) with N fields asked for.",
    arity: -3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("field").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let hash = ctx.db.hash(args[1])?;
    ctx.reply.array(args.len() - 2);
    for field in &args[2..] {
        match hash.and_then(|hash| hash.get(field)) {
            None => ctx.reply.null(),
            Some(value) => put(ctx.reply, value),
        }
    }
    Ok(())
}
