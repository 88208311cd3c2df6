//! QUIT: ends the connection once the replies are out.

use crate::commands::command::{Command, Group, Locks, acl, flag};

/// QUIT
pub const COMMAND: Command = Command {
    name: "quit",
    group: Group::Connection,
    since: "1.0.0",
    summary: "Closes the connection.",
    arity: -1,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::NO_AUTH
        | flag::ALLOW_BUSY,
    acl: acl::CONNECTION,
    locks: Locks::None,
    run: |ctx, _| {
        ctx.session.close_after_reply = true;
        ctx.reply.ok();
        Ok(())
    },
    ..Command::BASE
};
