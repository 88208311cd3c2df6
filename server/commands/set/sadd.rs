//! SADD: adds members.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;
use crate::keyspace::set::Set;

/// SADD key member [member …]
pub const COMMAND: Command = Command {
    name: "sadd",
    group: Group::Set,
    since: "1.0.0",
    summary: "Adds members to a set, which is made if there is none.",
    complexity: "O(1) for every member.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, members) = (args[1], &args[2..]);
    let set = ctx.db.set_or_new(key)?;
    if set.is_empty() {
        *set = Set::for_members(members[0], members.len());
    } else {
        set.prepare(members.len());
    }
    let mut added = 0;
    for member in members {
        added += i64::from(set.add(member));
    }
    if added != 0 {
        ctx.db.changed(class::SET, "sadd", key);
    }
    ctx.reply.integer(added);
    Ok(())
}
