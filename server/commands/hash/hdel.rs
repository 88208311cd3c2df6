//! HDEL: removes fields.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// HDEL key field [field …]
pub const COMMAND: Command = Command {
    name: "hdel",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Removes fields of a hash, and the hash with its last field.",
    complexity: "O(N) with N fields to remove.",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::string("field").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let mut removed = 0;
    if let Some(hash) = ctx.db.hash_mut(key)? {
        for field in &args[2..] {
            removed += i64::from(hash.remove(field));
        }
    }
    if removed != 0 {
        ctx.db.changed(class::HASH, "hdel", key);
        if ctx.db.remove_if_empty(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
        }
    }
    ctx.reply.integer(removed);
    Ok(())
}
