//! LRANGE: elements between two indexes.

use super::reply_element;
use crate::commands::args::integer;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::list::Direction;

/// LRANGE key start stop
pub const COMMAND: Command = Command {
    name: "lrange",
    group: Group::List,
    since: "1.0.0",
    summary: "Gives the elements between two indexes, both included.",
    complexity: "O(S+N), when S is the start's distance from the nearer end \
                 and N the number of elements",
    arity: 4,
    flags: flag::READONLY,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = ctx.db.list(args[1])? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let range = list.index_range(start, stop);
    ctx.reply.array(range.len());
    list.iter_from(range.start, Direction::Forward)
        .take(range.len())
        .for_each(|element| reply_element(ctx.reply, element));
    Ok(())
}
