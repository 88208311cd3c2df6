//! LSET: another element in the place of one.

use crate::commands::args::integer;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::DbError;
use crate::keyspace::entry::ValueType;
use crate::keyspace::recorder::class;

/// LSET key index element
pub const COMMAND: Command = Command {
    name: "lset",
    group: Group::List,
    since: "1.0.0",
    summary: "Puts an element in the place of the one at an index.",
    complexity: "O(N), when N is the distance from the nearer end",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("index"),
        Arg::string("element"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    // A missing key and a wrong type are told before a bad index.
    match ctx.db.type_of(key)? {
        None => return Err(CommandError::NoSuchKey),
        Some(ValueType::List) => {}
        Some(_) => return Err(DbError::WrongType.into()),
    }
    let index = integer(args[2])?;
    let done = ctx
        .db
        .list_mut(key)?
        .is_some_and(|list| list.set(index, args[3]));
    if !done {
        return Err(CommandError::IndexOutOfRange);
    }
    ctx.db.changed(class::LIST, "lset", key);
    ctx.reply.ok();
    Ok(())
}
