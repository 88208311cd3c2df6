//! REPLCONF: what a replica tells of itself before it asks for the stream.

use redoubt_cluster::replication::peer::{Heeded, Refused};

use crate::commands::command::{Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// REPLCONF [option value …]
pub const COMMAND: Command = Command {
    name: "replconf",
    group: Group::Server,
    since: "3.0.0",
    summary: "Tells a primary of a replica (internal).",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let now_ms = ctx.server.replication.now_ms();
    let peer = ctx.session.peer.get_or_insert_default();
    match peer.configure(now_ms, &args[1..]) {
        Ok(Heeded::Answer) => {
            ctx.reply.ok();
            Ok(())
        }
        Ok(Heeded::Silence | Heeded::OwnOffset) => Ok(()),
        Err(Refused::Syntax) => Err(CommandError::Syntax),
        Err(Refused::NotInteger) => Err(CommandError::NotInteger),
        Err(Refused::UnknownPart(part)) => Err(CommandError::err(format!(
            "Unsupported rdb-filter-only option: {part}"
        ))),
        Err(Refused::Unknown(option)) => Err(CommandError::err(format!(
            "Unrecognized REPLCONF option: {option}"
        ))),
    }
}
