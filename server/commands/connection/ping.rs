//! PING: is anybody there?

use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::resp::Protocol;

/// PING [message]
pub const COMMAND: Command = Command {
    name: "ping",
    group: Group::Connection,
    since: "1.0.0",
    summary: "Answers PONG, or the message.",
    arity: -1,
    flags: flag::FAST,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[Arg::string("message").optional()],
    pure: true,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len() > 2 {
        return Err(CommandError::Arity("ping".into()));
    }
    if ctx.session.is_subscriber() && ctx.session.client.protocol() == Protocol::Resp2 {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(args.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match args.get(1) {
        None => ctx.reply.simple("PONG"),
        Some(message) => ctx.reply.bulk(message),
    }
    Ok(())
}
