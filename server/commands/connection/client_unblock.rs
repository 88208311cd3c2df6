//! CLIENT UNBLOCK: ends another connection's wait.

use super::client::ADMIN;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::serve::unblock;

/// CLIENT UNBLOCK client-id [TIMEOUT | ERROR]
pub const COMMAND: Command = Command {
    name: "client|unblock",
    since: "5.0.0",
    summary: "Ends the wait of another connection's blocking command.",
    complexity: "O(log N) where N is the number of connections",
    arity: -3,
    args: &[
        Arg::integer("client-id"),
        Arg::one_of(
            "unblock-type",
            &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")],
        )
        .optional(),
    ],
    run,
    ..ADMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    // With more arguments than there are, the reason counts for nothing.
    let reason = args.get(3).filter(|_| args.len() == 4);
    let with_error = match reason {
        None => false,
        Some(how) if is(how, "TIMEOUT") => false,
        Some(how) if is(how, "ERROR") => true,
        Some(_) => {
            return Err(CommandError::err(
                "CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = args::integer(args[2])?;
    let client = u64::try_from(id)
        .ok()
        .and_then(|id| ctx.server.clients.get(id));
    let unblocked = client.is_some_and(|client| unblock(ctx.server, &client, with_error));
    ctx.reply.integer(i64::from(unblocked));
    Ok(())
}
