//! MULTI: commands are queued from here on.

use std::sync::atomic::Ordering;

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// MULTI
pub const COMMAND: Command = Command {
    name: "multi",
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Begins a transaction: commands are queued until EXEC.",
    arity: 1,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::ALLOW_BUSY
        | flag::NO_MULTI,
    acl: acl::TRANSACTION,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::err("MULTI calls can not be nested"));
    }
    ctx.session.transaction = Some(Default::default());
    ctx.session.client.queued.store(0, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
