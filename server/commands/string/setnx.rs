//! SETNX: stores a string under a key that isn't there.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// SETNX key value
pub const COMMAND: Command = Command {
    name: "setnx",
    group: Group::String,
    since: "1.0.0",
    summary: "Stores a string under a key that isn't there.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["OW", "insert"])],
    args: &[Arg::key("key"), Arg::string("value")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, value) = (args[1], args[2]);
    let free = !ctx.db.exists(key)?;
    if free {
        ctx.db.set_string(key, value, None)?;
        ctx.db.changed(class::STRING, "set", key);
    }
    ctx.reply.integer(i64::from(free));
    Ok(())
}
