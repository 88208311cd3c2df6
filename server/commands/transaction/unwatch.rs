//! UNWATCH: ends all watches.

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// UNWATCH
pub const COMMAND: Command = Command {
    name: "unwatch",
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Ends all watches of this connection.",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    acl: acl::TRANSACTION,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    super::unwatch_all(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(())
}
