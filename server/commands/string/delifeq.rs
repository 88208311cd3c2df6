//! DELIFEQ: removes a key that holds a certain string.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// DELIFEQ key value
pub const COMMAND: Command = Command {
    name: "delifeq",
    group: Group::String,
    since: "9.0.0",
    summary: "Removes a key if it holds this very string.",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RM", "delete"])],
    args: &[Arg::key("key"), Arg::string("value")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, wanted) = (args[1], args[2]);
    let equal = match ctx.db.peek_string(key)? {
        None => false,
        Some(string) => string.bytes(&mut itoa::Buffer::new()) == wanted,
    };
    if equal {
        ctx.db.delete(key)?;
        ctx.effects.add(&[b"DEL", key]);
        ctx.db.changed(class::GENERIC, "del", key);
    }
    ctx.reply.integer(i64::from(equal));
    Ok(())
}
