//! AUTH: logs in.

use super::login::log_in;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// AUTH [username] password
pub const COMMAND: Command = Command {
    name: "auth",
    group: Group::Connection,
    since: "1.0.0",
    summary: "Logs in.",
    complexity: "O(N) where N is the number of passwords defined for the user",
    arity: -2,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::NO_AUTH
        | flag::ALLOW_BUSY,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[
        Arg::string("username").optional().since("6.0.0"),
        Arg::string("password"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (user, password) = match args {
        [_, password] => {
            if ctx.server.acl.default_is_open() {
                return Err(CommandError::err(
                    "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                ));
            }
            (&b"default"[..], *password)
        }
        [_, user, password] => (*user, *password),
        _ => return Err(CommandError::Syntax),
    };
    log_in(ctx.server, ctx.session, args[0], user, password)?;
    ctx.reply.ok();
    Ok(())
}
