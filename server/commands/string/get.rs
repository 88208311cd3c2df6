//! GET: the string under a key.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::db::StringRef;

/// GET key
pub const COMMAND: Command = Command {
    name: "get",
    group: Group::String,
    since: "1.0.0",
    summary: "Returns the string under a key.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    match ctx.db.string(args[1])? {
        None => ctx.reply.null(),
        Some(StringRef::Int(int)) => ctx.reply.bulk_integer(int),
        Some(StringRef::Bytes(bytes)) => ctx.reply.bulk(bytes),
    }
    Ok(())
}
