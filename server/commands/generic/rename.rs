//! RENAME and RENAMENX: a value goes under another key, with its expiry.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

const SOURCE: KeySpec = KeySpec::one(1, &["RW", "access", "delete"]);

/// RENAME key newkey
pub const RENAME: Command = Command {
    name: "rename",
    group: Group::Generic,
    summary: "Puts a value under another key, in place of what was there.",
    arity: 3,
    flags: flag::WRITE,
    acl: acl::KEYSPACE,
    keys: &[SOURCE, KeySpec::one(2, &["OW", "update"])],
    args: &[Arg::key("key"), NEW_KEY],
    run: |ctx, args| run(ctx, args, true),
    ..Command::BASE
};

/// RENAMENX key newkey
pub const RENAMENX: Command = Command {
    name: "renamenx",
    summary: "Puts a value under another key unless there is one already.",
    flags: flag::WRITE | flag::FAST,
    keys: &[SOURCE, KeySpec::one(2, &["OW", "insert"])],
    run: |ctx, args| run(ctx, args, false),
    ..RENAME
};

const NEW_KEY: Arg = Arg::new("newkey", crate::commands::command::ArgKind::Key(1));

fn run(ctx: &mut Context<'_>, args: &[&[u8]], replace: bool) -> CommandResult {
    let (from, to) = (args[1], args[2]);
    if ctx.db.peek(from)?.is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let renamed = from != to && (replace || !ctx.db.exists(to)?);
    if renamed && let Some((value, expire_at_ms)) = ctx.db.take(from)? {
        let replaced = ctx.db.exists(to)?;
        ctx.db.set_value(to, value, expire_at_ms)?;
        if replaced {
            // The old key counts as removed first.
            ctx.db.event(class::NEW, "new", to);
        }
        ctx.db.changed(class::GENERIC, "rename_from", from);
        ctx.db.changed(class::GENERIC, "rename_to", to);
    }
    match replace {
        true => ctx.reply.ok(),
        false => ctx.reply.integer(i64::from(renamed)),
    }
    Ok(())
}
