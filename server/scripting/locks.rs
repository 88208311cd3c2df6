//! Which stripes a script holds.
//!
//! It begins with those of its declared keys. A key that it did not declare
//! adds its stripe when it is first used: at once if nobody holds it. If
//! somebody does, waiting could be for ever, since he may wait for a stripe
//! that the script holds. So:
//!
//! | the script has | then it |
//! |---|---|
//! | not written yet | begins again from the start, with all stripes (`again.rs`), as it does when it locked first in a pause and comes to write |
//! | written already | waits, for a bounded time; then the command fails |
//!
//! Two scripts that have written and wait for each other are the one case that
//! must not come up. A script *roams* if it declares no keys or has been seen
//! to use others after it had written; only one roaming script at a time may
//! have written (`Scripting::roaming`). Whoever locks several stripes for a
//! command gives them back when he has to wait (`keyspace/stripe.rs`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::run::{Abort, Run, What, has_effects};
use crate::commands::command::{Command, Group, Locks};
use crate::commands::error::CommandError;
use crate::connection::dispatch::{expiry_mode, is_observed_in, stripes_of};
use crate::connection::pause;
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::stripe::StripeSet;
use crate::state::unix_ms;

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

/// Makes sure that the stripes of a command are held, and that what holds for
/// those that were added is known.
pub fn ready(
    run: &mut Run,
    command: &'static Command,
    words: &[&[u8]],
) -> Result<(), CommandError> {
    let before = run.ctx().db.held();
    let ready = match run.ctx().holds_all {
        true => Ok(()),
        false => take(run, command, words),
    };
    if is_too_late(run, command) {
        run.abort = Some(Abort::Restart);
    }
    let ctx = run.ctx();
    if ctx.db.held() != before || ctx.db.expiry_mode == ExpiryMode::Hide {
        look_around(run, command);
    }
    ready
}

/// Others may have begun to watch, to read or to wait for a key before its
/// stripe was had; the role or a pause may have changed, too.
fn look_around(run: &mut Run, command: &'static Command) {
    let ctx = run.ctx();
    ctx.db.recorder.observed |= is_observed_in(ctx.server, ctx.session);
    // A transaction's other commands are to find what it found.
    if !run.nested {
        let writes = run.wrote || has_effects(command.flags);
        ctx.db.expiry_mode = expiry_mode(ctx.server, ctx.session, unix_ms(), writes);
    }
}

fn take(run: &mut Run, command: &'static Command, words: &[&[u8]]) -> Result<(), CommandError> {
    let ctx = run.ctx();
    if run.roams() && has_effects(command.flags) && !claim(run)? {
        return Ok(());
    }
    let needed = needed(command, words);
    let first = !ctx.db.holds_any();
    for stripe in needed.iter() {
        if ctx.db.extend(stripe, Duration::ZERO) {
            continue;
        }
        if run.can_restart() {
            run.abort = Some(Abort::Restart);
            return Ok(());
        }
        run.mark_as_roaming();
        if !claim(run)? {
            return Ok(());
        }
        if !ctx.db.extend(stripe, PATIENCE) {
            return Err(in_use());
        }
    }
    if needed == StripeSet::ALL {
        ctx.holds_all = true;
    }
    if let Some(long) = &run.long {
        long.hold(ctx.db.held());
    }
    if first && ctx.db.holds_any() && ctx.session.passed_long_ago(ctx.server) {
        look_again(run);
    }
    Ok(())
}

/// The role or a pause has changed before a script held its first stripe. Its
/// command is asked again; if that is too late, it may read.
#[cold]
fn look_again(run: &mut Run) {
    match run.can_postpone() {
        true => run.abort = Some(Abort::Postpone),
        false => run.late = pause::is_on(run.ctx().server, unix_ms()),
    }
}

/// Whether a script has to begin again behind a pause, since nobody waits for what
/// it writes now.
fn is_too_late(run: &mut Run, command: &'static Command) -> bool {
    run.late
        && has_effects(command.flags)
        && run.can_restart()
        && pause::is_on(run.ctx().server, unix_ms())
}

fn in_use() -> CommandError {
    CommandError::err(
        "a key that the script did not declare is in use by another script; declare all keys",
    )
}

/// Makes a run the roaming one that may write; false when it has to begin
/// again.
fn claim(run: &mut Run) -> Result<bool, CommandError> {
    if run.claimed {
        return Ok(true);
    }
    let roaming = &run.ctx().server.scripting.roaming;
    if roaming.try_claim(Duration::ZERO) {
        run.claimed = true;
        return Ok(true);
    }
    if run.can_restart() {
        run.abort = Some(Abort::Restart);
        return Ok(false);
    }
    run.claimed = roaming.try_claim(PATIENCE);
    if run.claimed { Ok(true) } else { Err(in_use()) }
}

/// The right to write as a roaming script.
#[derive(Default)]
pub struct Roaming(parking_lot::Mutex<()>);

impl Roaming {
    /// Takes the right, if it can be had in time.
    pub fn try_claim(&self, patience: Duration) -> bool {
        let guard = match patience.is_zero() {
            true => self.0.try_lock(),
            false => self.0.try_lock_for(patience),
        };
        guard.map(std::mem::forget).is_some()
    }

    /// Gives it back; only who has it calls this.
    pub fn give_back(&self) {
        // SAFETY: the caller took it by `try_claim`, which forgot the guard.
        unsafe { self.0.force_unlock() };
    }
}

impl Run {
    fn roams(&self) -> bool {
        self.claims_all || self.marks().load(Ordering::Relaxed)
    }

    fn can_restart(&self) -> bool {
        !self.wrote
    }

    /// Whether its command can be asked again as if nothing had been.
    pub fn can_postpone(&self) -> bool {
        !self.wrote && self.long.is_none() && !self.nested
    }

    fn marks(&self) -> &std::sync::atomic::AtomicBool {
        match &self.what {
            What::Script(script) => &script.roams,
            What::Function(library, _) => &library.roams,
        }
    }

    fn mark_as_roaming(&self) {
        self.marks().store(true, Ordering::Relaxed);
    }
}
