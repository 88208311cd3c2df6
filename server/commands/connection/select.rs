//! SELECT: goes on in another database.

use std::sync::atomic::Ordering;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// SELECT index
pub const COMMAND: Command = Command {
    name: "select",
    group: Group::Connection,
    since: "1.0.0",
    summary: "Goes on in another database.",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[Arg::integer("index")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let index = args::integer(args[1])?;
    let known = u32::try_from(index)
        .ok()
        .filter(|n| *n < ctx.server.keyspace.databases());
    let index = known.ok_or_else(|| CommandError::err("DB index is out of range"))?;
    ctx.session.db = index;
    ctx.session.client.db.store(index, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
