//! SREM: removes members.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// SREM key member [member …]
pub const COMMAND: Command = Command {
    name: "srem",
    group: Group::Set,
    since: "1.0.0",
    summary: "Removes members of a set, and the set with its last member.",
    complexity: "O(N) with N members to remove.",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let mut removed = 0;
    if let Some(set) = ctx.db.set_mut(key)? {
        for member in &args[2..] {
            removed += i64::from(set.remove(member));
        }
    }
    if removed != 0 {
        ctx.db.changed(class::SET, "srem", key);
        if ctx.db.remove_if_empty(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
        }
    }
    ctx.reply.integer(removed);
    Ok(())
}
