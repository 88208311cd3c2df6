//! Scripts and functions: EVAL, SCRIPT, FUNCTION, FCALL. What they run on is
//! in `crate::scripting`.

mod eval;
mod fcall;
mod function;
mod function_dump;
mod script;

use super::command::{Arg, ArgKind, Command, KeySpec, flag};
use super::context::Context;
use super::error::CommandError;
use super::table::table;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &eval::EVAL,
    &eval::EVALSHA,
    &eval::EVAL_RO,
    &eval::EVALSHA_RO,
    &script::COMMAND,
    &function::COMMAND,
    &fcall::FCALL,
    &fcall::FCALL_RO,
];

/// The flags of commands that call a script.
const CALL_FLAGS: u32 =
    flag::NOSCRIPT | flag::SKIP_MONITOR | flag::STALE | flag::NO_MANDATORY_KEYS | flag::MOVABLEKEYS;

/// The keys of commands that call a script which may write.
const fn any_keys(notes: &'static str) -> KeySpec {
    let mut spec = KeySpec::keynum(2, &["RW", "access", "update"]);
    spec.notes = notes;
    spec
}

/// The keys of commands that call a script which only reads.
const fn read_keys(notes: &'static str) -> KeySpec {
    let mut spec = KeySpec::keynum(2, &["RO", "access"]);
    spec.notes = notes;
    spec
}

/// The arguments of commands that call a script: what first, then these.
const fn call_args(what: Arg) -> [Arg; 4] {
    [
        what,
        Arg::integer("numkeys"),
        Arg::new("key", ArgKind::Key(0)).optional().multiple(),
        Arg::string("arg").optional().multiple(),
    ]
}

/// Keys and arguments of a call.
type Split<'a, 'b> = (&'b [&'a [u8]], &'b [&'a [u8]]);

/// Splits what follows the number of keys.
fn split<'a, 'b>(
    args: &'b [&'a [u8]],
    not_a_number: impl FnOnce() -> CommandError,
) -> Result<Split<'a, 'b>, CommandError> {
    let count = super::args::integer(args[2]).map_err(|_| not_a_number())?;
    let rest = &args[3..];
    if count > rest.len() as i64 {
        let text = "Number of keys can't be greater than number of args";
        return Err(CommandError::err(text));
    }
    if count < 0 {
        return Err(CommandError::err("Number of keys can't be negative"));
    }
    Ok(rest.split_at(count as usize))
}

/// Counts a script that ended with an error as a failed call of its command.
fn count_failure(ctx: &Context<'_>, args: &[&[u8]], failed: bool) {
    if failed && let Some(found) = table().find(args) {
        let stats = ctx.server.stats.commands_of(found.number());
        crate::stats::add(&stats.failed, 1);
    }
}

/// Shows a call to monitors before the commands that it makes.
fn show(ctx: &Context<'_>, args: &[&[u8]]) {
    if ctx
        .server
        .monitored
        .load(std::sync::atomic::Ordering::Relaxed)
        && let Some(found) = table().find(args)
    {
        crate::monitor::show_call(ctx.server, ctx.session, found.command, args);
    }
}
