//! MGET: the strings under several keys.

use super::string_or_null;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::DbError;

/// MGET key [key …]
pub const COMMAND: Command = Command {
    name: "mget",
    group: Group::String,
    since: "1.0.0",
    summary: "Returns the strings under several keys.",
    complexity: "O(N) where N is the number of keys.",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::range(1, -1, 1, &["RO", "access"])],
    args: &[Arg::key("key").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    ctx.reply.array(args.len() - 1);
    for key in &args[1..] {
        match ctx.db.string(key) {
            Ok(string) => string_or_null(ctx.reply, string),
            Err(DbError::WrongType) => ctx.reply.null(),
            Err(error) => return Err(CommandError::from(error)),
        }
    }
    Ok(())
}
