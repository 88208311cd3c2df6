//! Which stripes a script holds.
//!
//! It begins with those of its declared keys. A key that it did not declare
//! adds its stripe when it is first used: at once if nobody holds it. If
//! somebody does, waiting could be for ever (he may wait for a stripe that the
//! script holds), so:
//!
//! | the script has | then it |
//! |---|---|
//! | not written yet | begins again from the start, with all stripes |
//! | written already | waits, for a bounded time; then the command fails |
//!
//! Only another script can hold a stripe for so long: whoever locks several
//! stripes for a command gives them back when he has to wait
//! (`keyspace/stripe.rs`).

use std::time::Duration;

use super::run::{Abort, Run};
use crate::commands::command::{Command, Group, Locks};
use crate::commands::error::CommandError;
use crate::connection::dispatch::stripes_of;
use crate::keyspace::stripe::StripeSet;

/// How long a script that has written waits for a stripe.
const PATIENCE: Duration = Duration::from_secs(2);

/// The stripes that a command takes, by itself or with the dispatcher's help.
pub fn needed(command: &'static Command, words: &[&[u8]]) -> StripeSet {
    match command.locks {
        // What locks for itself can't while others are held.
        Locks::None if is_free(command) => StripeSet::default(),
        Locks::None => StripeSet::ALL,
        _ => stripes_of(command, words),
    }
}

/// Whether a command that locks for itself needs no stripe at all.
fn is_free(command: &Command) -> bool {
    matches!(command.group, Group::Connection | Group::Pubsub)
        || matches!(
            command.name,
            "time" | "info" | "lolwut" | "role" | "lastsave" | "wait" | "waitaof" | "command"
        )
        || command.name.starts_with("command|")
        || command.name.starts_with("script|")
}

/// Makes sure that the stripes of a command are held.
pub fn ready(
    run: &mut Run,
    command: &'static Command,
    words: &[&[u8]],
) -> Result<(), CommandError> {
    let ctx = run.ctx();
    if ctx.holds_all {
        return Ok(());
    }
    let needed = needed(command, words);
    for stripe in needed.iter() {
        if ctx.db.extend(stripe, Duration::ZERO) {
            continue;
        }
        if !run.wrote && run.long.is_none() {
            run.abort = Some(Abort::Restart);
            return Ok(());
        }
        if !ctx.db.extend(stripe, PATIENCE) {
            return Err(CommandError::err(
                "a key that the script did not declare is in use by another script; declare all keys",
            ));
        }
    }
    if needed == StripeSet::ALL {
        ctx.holds_all = true;
    }
    if let Some(long) = &run.long {
        long.hold(ctx.db.held());
    }
    Ok(())
}
