//! HGETDEL: the values of fields, which are removed.

use super::fields::{FIELDS, conclude_removal, counted};
use super::put;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// HGETDEL key FIELDS numfields field [field …]
pub const COMMAND: Command = Command {
    name: "hgetdel",
    group: Group::Hash,
    since: "9.1.0",
    summary: "Returns the values of fields of a hash and removes the fields.",
    complexity: "O(N) with N fields to remove.",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "access", "delete"])],
    args: &[Arg::key("key"), FIELDS],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, fields) = (args[1], &args[4..]);
    if !args::is(args[2], "FIELDS") {
        return Err(CommandError::Syntax);
    }
    counted(&args[3..], 1)?;
    let mut hash = ctx.db.hash_mut(key)?;
    ctx.reply.array(fields.len());
    let mut removed: Vec<&[u8]> = Vec::new();
    for field in fields {
        match hash.as_ref().and_then(|hash| hash.get(field)) {
            None => ctx.reply.null(),
            Some(value) => put(ctx.reply, value),
        }
        if hash.as_mut().is_some_and(|hash| hash.remove(field)) {
            removed.push(field);
        }
    }
    conclude_removal(ctx, key, &removed, "hdel")
}
