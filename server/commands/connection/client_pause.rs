//! CLIENT PAUSE, CLIENT UNPAUSE: makes commands wait.

use super::client::ADMIN;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::pause::{self, Purpose};
use crate::state::unix_ms;

/// CLIENT PAUSE timeout [WRITE | ALL]
pub const PAUSE: Command = Command {
    name: "client|pause",
    since: "3.0.0",
    summary: "Makes commands wait, all or those that write.",
    arity: -3,
    args: &[
        Arg::integer("timeout"),
        Arg::one_of(
            "mode",
            &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")],
        )
        .optional()
        .since("6.2.0"),
    ],
    run,
    ..ADMIN
};

/// CLIENT UNPAUSE
pub const UNPAUSE: Command = Command {
    name: "client|unpause",
    since: "6.2.0",
    summary: "Ends CLIENT PAUSE.",
    complexity: "O(N) where N is the number of waiting clients",
    arity: 2,
    run: |ctx, _| {
        pause::end(ctx.server, Purpose::Client);
        ctx.reply.ok();
        Ok(())
    },
    ..ADMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let writes_only = match args.get(3) {
        None => false,
        Some(mode) if is(mode, "WRITE") => true,
        Some(mode) if is(mode, "ALL") => false,
        Some(_) => {
            return Err(CommandError::err("CLIENT PAUSE mode must be WRITE or ALL"));
        }
    };
    let text = "timeout is not an integer or out of range";
    let timeout_ms = args::integer_between(args[2], i64::MIN..=i64::MAX, text)?;
    if timeout_ms < 0 {
        return Err(CommandError::err("timeout is negative"));
    }
    let now_ms = unix_ms();
    let until_ms = now_ms
        .checked_add(timeout_ms)
        .ok_or_else(|| CommandError::err("timeout is out of range"))?;
    pause::begin(ctx.server, Purpose::Client, until_ms, writes_only, now_ms);
    ctx.reply.ok();
    Ok(())
}
