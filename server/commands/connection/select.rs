//! SELECT: goes on in another database.

use std::sync::atomic::Ordering;

use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::generic::database;

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
    let index = database(ctx, args[1])?;
    ctx.session.db = index;
    ctx.session.client.db.store(index, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
