//! LINDEX: one element by its index.

use super::reply_element;
use crate::commands::args::integer;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// LINDEX key index
pub const COMMAND: Command = Command {
    name: "lindex",
    group: Group::List,
    since: "1.0.0",
    summary: "Gives the element at an index; -1 is the last one.",
    complexity: "O(N), when N is the distance from the nearer end",
    arity: 3,
    flags: flag::READONLY,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::integer("index")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let Some(list) = ctx.db.list(args[1])? else {
        ctx.reply.null();
        return Ok(());
    };
    match list.get(integer(args[2])?) {
        Some(element) => reply_element(ctx.reply, element),
        None => ctx.reply.null(),
    }
    Ok(())
}
