//! DEL and UNLINK: remove keys. What takes long to free is freed in the
//! background by either.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// DEL key [key …]
pub const DEL: Command = Command {
    name: "del",
    group: Group::Generic,
    summary: "Removes keys.",
    complexity: "O(N) for N keys; collections are freed in the background.",
    arity: -2,
    flags: flag::WRITE,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, &["RM", "delete"])],
    args: &[Arg::key("key").multiple()],
    run,
    ..Command::BASE
};

/// UNLINK key [key …]
pub const UNLINK: Command = Command {
    name: "unlink",
    since: "4.0.0",
    summary: "Removes keys and frees their values in the background.",
    flags: flag::WRITE | flag::FAST,
    ..DEL
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut removed = 0;
    for key in &args[1..] {
        if ctx.db.delete(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
            removed += 1;
        }
    }
    ctx.reply.integer(removed);
    Ok(())
}
