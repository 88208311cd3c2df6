//! ECHO: gives back what it gets.

use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};

/// ECHO message
pub const COMMAND: Command = Command {
    name: "echo",
    group: Group::Connection,
    since: "1.0.0",
    summary: "Answers with the message.",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[Arg::string("message")],
    pure: true,
    run: |ctx, args| {
        ctx.reply.bulk(args[1]);
        Ok(())
    },
    ..Command::BASE
};
