//! ZREM: removes members.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// ZREM key member [member ...]
pub const COMMAND: Command = Command {
    name: "zrem",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes members from a sorted set.",
    complexity: "O(M*log(N)), N being the size of the set and M the number of members to remove.",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let mut removed = 0;
    if let Some(zset) = ctx.db.zset_mut(key)? {
        for member in &args[2..] {
            removed += i64::from(zset.remove(member).is_some());
        }
    }
    if removed != 0 {
        ctx.db.changed(class::ZSET, "zrem", key);
        if ctx.db.remove_if_empty(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
        }
    }
    ctx.reply.integer(removed);
    Ok(())
}
