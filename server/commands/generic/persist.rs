//! PERSIST: a key no longer expires.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// PERSIST key
pub const COMMAND: Command = Command {
    name: "persist",
    group: Group::Generic,
    since: "2.2.0",
    summary: "Takes away a key's expiry.",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let expires = ctx.db.expiry(key)?.flatten().is_some();
    if expires {
        ctx.db.set_expiry(key, None)?;
        ctx.db.changed(class::GENERIC, "persist", key);
    }
    ctx.reply.integer(i64::from(expires));
    Ok(())
}
