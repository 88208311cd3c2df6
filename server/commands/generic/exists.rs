//! EXISTS and TOUCH: how many of the keys there are.

use super::access::untouched;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// EXISTS key [key …]
pub const EXISTS: Command = Command {
    name: "exists",
    group: Group::Generic,
    summary: "Counts which of the keys exist; a key named twice counts twice.",
    complexity: "O(N) for N keys.",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, &["RO"])],
    args: &[Arg::key("key").multiple()],
    run: exists,
    ..Command::BASE
};

/// TOUCH key [key …]
pub const TOUCH: Command = Command {
    name: "touch",
    since: "3.2.1",
    summary: "Counts which of the keys exist, and marks them as just used.",
    run: touch,
    ..EXISTS
};

fn exists(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut found = 0;
    for key in &args[1..] {
        found += i64::from(untouched(ctx, key, |_| ())?.is_some());
    }
    ctx.reply.integer(found);
    Ok(())
}

fn touch(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut found = 0;
    for key in &args[1..] {
        found += i64::from(ctx.db.lookup(key)?.is_some());
    }
    ctx.reply.integer(found);
    Ok(())
}
