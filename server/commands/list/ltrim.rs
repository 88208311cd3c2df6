//! LTRIM: keeps the elements between two indexes.

use super::remove_emptied;
use crate::commands::args::integer;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// LTRIM key start stop
pub const COMMAND: Command = Command {
    name: "ltrim",
    group: Group::List,
    since: "1.0.0",
    summary: "Removes all elements but those between two indexes.",
    complexity: "O(N), when N is the number of elements removed",
    arity: 4,
    flags: flag::WRITE,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = ctx.db.list_mut(key)? else {
        ctx.reply.ok();
        return Ok(());
    };
    let before = list.len();
    list.trim(start, stop);
    let after = list.len();
    ctx.reply.ok();
    if after == before {
        ctx.db.event(class::LIST, "ltrim", key);
        return Ok(());
    }
    ctx.db.changed(class::LIST, "ltrim", key);
    remove_emptied(&mut ctx.db, key, after == 0)
}
