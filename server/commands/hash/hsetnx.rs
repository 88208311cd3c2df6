//! HSETNX: gives a field a value unless it has one.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// HSETNX key field value
pub const COMMAND: Command = Command {
    name: "hsetnx",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Gives a field of a hash a value unless the field exists.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[Arg::key("key"), Arg::string("field"), Arg::string("value")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, field, value) = (args[1], args[2], args[3]);
    // A hash that is made here has no field yet, so it never stays empty.
    let hash = ctx.db.hash_or_new(key)?;
    let absent = !hash.contains(field);
    if absent {
        hash.set(field, value);
        ctx.db.changed(class::HASH, "hset", key);
    }
    ctx.reply.integer(i64::from(absent));
    Ok(())
}
