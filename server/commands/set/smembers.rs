//! SMEMBERS: a whole set.

use super::put;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// SMEMBERS key
pub const COMMAND: Command = Command {
    name: "smembers",
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns every member of a set.",
    complexity: "O(N) with N members in the set.",
    arity: 2,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let set = ctx.db.set(args[1])?;
    ctx.reply.set(set.map_or(0, |set| set.len()));
    for member in set.iter().flat_map(|set| set.iter()) {
        put(ctx.reply, member);
    }
    Ok(())
}
