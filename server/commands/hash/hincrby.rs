//! HINCRBY: adds to the integer in a field.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// HINCRBY key field increment
pub const COMMAND: Command = Command {
    name: "hincrby",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Adds to the integer in a field of a hash; no field counts as 0.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("field"),
        Arg::integer("increment"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, field) = (args[1], args[2]);
    let increment = args::integer(args[3])?;
    // Nothing fails on a hash that is made here: the sum is the increment.
    let hash = ctx.db.hash_or_new(key)?;
    let old = match hash.get(field) {
        None => 0,
        Some(value) => value
            .as_int()
            .ok_or_else(|| CommandError::err("hash value is not an integer"))?,
    };
    let sum = old
        .checked_add(increment)
        .ok_or_else(|| CommandError::err("increment or decrement would overflow"))?;
    hash.set_keeping_expiry(field, itoa::Buffer::new().format(sum).as_bytes());
    ctx.db.changed(class::HASH, "hincrby", key);
    ctx.reply.integer(sum);
    Ok(())
}
