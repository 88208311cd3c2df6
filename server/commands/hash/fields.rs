//! What the commands about single fields share: the fields they name, the
//! effects they log, and what follows when fields are gone.

use crate::commands::args;
use crate::commands::command::{Arg, ArgKind};
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// `FIELDS numfields field [field …]` in a command's syntax.
pub const FIELDS: Arg = Arg::block(
    "fields",
    &[Arg::integer("numfields"), Arg::string("field").multiple()],
)
.after("FIELDS");

/// EX, PX, EXAT, PXAT or the command's own word in a command's syntax.
pub const fn expiration(args: &'static [Arg]) -> Arg {
    Arg::one_of("expiration", args).optional()
}

/// The parts of [`expiration`] but for the command's own word.
pub const SECONDS: Arg = Arg::integer("seconds").after("EX");
/// See [`SECONDS`].
pub const MILLIS: Arg = Arg::integer("milliseconds").after("PX");
/// See [`SECONDS`].
pub const UNIX_SECONDS: Arg = Arg::new("unix-time-seconds", ArgKind::UnixTime).after("EXAT");
/// See [`SECONDS`].
pub const UNIX_MILLIS: Arg = Arg::new("unix-time-milliseconds", ArgKind::UnixTime).after("PXAT");

/// Some of a command's arguments.
type Words<'s, 'a> = &'s [&'a [u8]];

/// The number of fields is not that of the fields.
pub fn mismatch() -> CommandError {
    CommandError::err("numfields should be greater than 0 and match the provided number of fields")
}

/// The arguments from `from` on, before and after the word FIELDS.
pub fn split<'s, 'a>(
    args: Words<'s, 'a>,
    from: usize,
) -> Result<(Words<'s, 'a>, Words<'s, 'a>), CommandError> {
    let args = &args[from..];
    let at = args.iter().position(|word| args::is(word, "FIELDS"));
    let at = at.ok_or_else(mismatch)?;
    Ok((&args[..at], &args[at + 1..]))
}

/// Of `numfields field …`, with so many arguments for each field: what is
/// behind the number, if it is as many as that says.
pub fn counted<'s, 'a>(args: &'s [&'a [u8]], each: usize) -> Result<&'s [&'a [u8]], CommandError> {
    let (count, fields) = args.split_first().ok_or_else(mismatch)?;
    let count = usize::try_from(args::integer(count)?).ok();
    match count.and_then(|count| count.checked_mul(each)) {
        Some(count) if count > 0 && count == fields.len() => Ok(fields),
        _ => Err(mismatch()),
    }
}

/// Adds an effect `head FIELDS numfields field …`, unless there are no fields.
pub fn add_effect(effects: &mut Effects, head: &[&[u8]], each: usize, fields: &[&[u8]]) {
    if fields.is_empty() {
        return;
    }
    let count = itoa::Buffer::new().format(fields.len() / each).to_string();
    let mut effect = head.to_vec();
    effect.extend_from_slice(&[b"FIELDS", count.as_bytes()]);
    effect.extend_from_slice(fields);
    effects.add(&effect);
}

/// Logs that fields, if any, were removed before their time had come or
/// because it had, and tells so by `event`; the key goes with the last field.
pub fn conclude_removal(
    ctx: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
    event: &'static str,
) -> CommandResult {
    if fields.is_empty() {
        return Ok(());
    }
    let mut effect: Vec<&[u8]> = vec![b"HDEL", key];
    effect.extend_from_slice(fields);
    ctx.effects.add(&effect);
    ctx.db.changed(class::HASH, event, key);
    if ctx.db.remove_if_empty(key)? {
        ctx.db.changed(class::GENERIC, "del", key);
    }
    Ok(())
}
