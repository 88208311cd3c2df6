//! INCRBYFLOAT: adds a floating point number to the one under a key.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::number::add_long_double;

/// INCRBYFLOAT key increment
pub const COMMAND: Command = Command {
    name: "incrbyfloat",
    group: Group::String,
    since: "2.6.0",
    summary: "Adds to the floating point number under a key, 0 if there is none.",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key"), Arg::double("increment")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, by) = (args[1], args[2]);
    let sum = match ctx.db.peek_string(key)? {
        None => add_long_double(b"0", by),
        Some(old) => add_long_double(old.bytes(&mut itoa::Buffer::new()), by),
    };
    let sum = sum.map_err(CommandError::err)?;
    let expire_at_ms = ctx.db.expiry(key)?.flatten();
    ctx.db.set_string(key, sum.as_bytes(), expire_at_ms)?;
    // The sum, not the addition: so nobody who replays it rounds otherwise.
    ctx.effects.add(&[b"SET", key, sum.as_bytes(), b"KEEPTTL"]);
    ctx.db.changed(class::STRING, "incrbyfloat", key);
    ctx.reply.bulk(sum.as_bytes());
    Ok(())
}
