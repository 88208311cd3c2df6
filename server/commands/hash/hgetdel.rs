//! HGETDEL: the values of fields, which are removed.

use super::put;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

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
    args: &[
        Arg::key("key"),
        Arg::block(
            "fields",
            &[Arg::integer("numfields"), Arg::string("field").multiple()],
        )
        .after("FIELDS"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, fields) = (args[1], &args[4..]);
    if !args::is(args[2], "FIELDS") {
        return Err(CommandError::Syntax);
    }
    if args::integer(args[3])? != fields.len() as i64 {
        return Err(CommandError::err(
            "numfields should be greater than 0 and match the provided number of fields",
        ));
    }
    let mut hash = ctx.db.hash_mut(key)?;
    ctx.reply.array(fields.len());
    let mut removed = false;
    for field in fields {
        match hash.as_ref().and_then(|hash| hash.get(field)) {
            None => ctx.reply.null(),
            Some(value) => put(ctx.reply, value),
        }
        removed |= hash.as_mut().is_some_and(|hash| hash.remove(field));
    }
    if removed {
        ctx.db.changed(class::HASH, "hdel", key);
        if ctx.db.remove_if_empty(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
        }
    }
    Ok(())
}
