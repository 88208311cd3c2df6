//! MONITOR: shows every command that any client runs from here on.

use crate::commands::command::{Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// MONITOR
pub const COMMAND: Command = Command {
    name: "monitor",
    group: Group::Server,
    since: "1.0.0",
    summary: "Shows every command that the server runs.",
    complexity: "",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    if ctx.in_transaction {
        return Err(CommandError::err(
            "MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    crate::monitor::join(ctx.server, &ctx.session.client);
    ctx.reply.ok();
    Ok(())
}
