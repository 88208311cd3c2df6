//! MOVE: a key goes to another database.

use super::access::database;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// MOVE key db
pub const COMMAND: Command = Command {
    name: "move",
    group: Group::Generic,
    summary: "Takes a key to another database unless it is there already.",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[Arg::key("key"), Arg::integer("db")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let from_db = ctx.db.index();
    let to_db = database(ctx, args[2])?;
    if from_db == to_db {
        return Err(CommandError::err(
            "source and destination objects are the same",
        ));
    }
    let found = ctx.db.peek(key)?.is_some();
    ctx.db.select(to_db);
    let taken = found && ctx.db.exists(key)?;
    ctx.db.select(from_db);
    let moved = found && !taken;
    if moved && let Some((value, expire_at_ms)) = ctx.db.take(key)? {
        ctx.db.select(to_db);
        ctx.db.set_value(key, value, expire_at_ms)?;
        ctx.db.select(from_db);
        ctx.db.changed(class::GENERIC, "move_from", key);
        ctx.db.select(to_db);
        ctx.db.changed(class::GENERIC, "move_to", key);
        ctx.db.select(from_db);
    }
    ctx.reply.integer(i64::from(moved));
    Ok(())
}
