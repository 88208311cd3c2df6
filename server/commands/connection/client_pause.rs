//! CLIENT PAUSE, CLIENT UNPAUSE: makes commands wait.
//!
//! PAUSE is answered once all stripes were had, one after the other: a write that
//! gets one later looks at the pause again, so none enters the log after the
//! reply. A script may hold one for very long; that is waited for on a thread,
//! for as long as the pause lasts.

use std::time::Duration;

use tokio::sync::oneshot;

use super::client::ADMIN;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::pause::{self, Purpose};
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::state::{Server, unix_ms};

/// Time between two looks whether the pause is still on.
const LOOK: Duration = Duration::from_millis(50);

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
    // A transaction has stripes of its own, and can't wait for others.
    if !ctx.in_transaction {
        await_writes(ctx);
    }
    ctx.reply.ok();
    Ok(())
}

/// Has the reply wait for writes that are under way.
fn await_writes(ctx: &mut Context<'_>) {
    let server = ctx.server;
    let mut taken: Vec<usize> = (0..STRIPES).collect();
    taken.retain(|stripe| !is_free(server, *stripe, Duration::ZERO));
    if taken.is_empty() {
        return;
    }
    let (told, are_over) = oneshot::channel();
    let wait = move || {
        let is_paused = || server.pauses.is_on_for(Purpose::Client, unix_ms());
        for stripe in taken {
            while !is_free(server, stripe, LOOK) && is_paused() {}
        }
        // Unless the client is gone.
        let _ = told.send(());
    };
    let thread = std::thread::Builder::new().name("pause".into());
    match thread.spawn(wait) {
        Ok(_) => ctx.session.await_outcome(are_over, None),
        Err(error) => tracing::warn!("CLIENT PAUSE waits for no writes: {error}"),
    }
}

fn is_free(server: &Server, stripe: usize, patience: Duration) -> bool {
    let held = server.keyspace.try_lock(StripeSet::one(stripe), patience);
    held.is_some()
}
