//! DISCARD: forgets the queued commands.

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// DISCARD
pub const COMMAND: Command = Command {
    name: "discard",
    group: Group::Transactions,
    since: "2.0.0",
    summary: "Forgets the commands queued since MULTI and ends all watches.",
    complexity: "O(N), when N is the number of queued commands",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    acl: acl::TRANSACTION,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    if ctx.session.transaction.is_none() {
        return Err(CommandError::err("DISCARD without MULTI"));
    }
    super::abandon(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(())
}
