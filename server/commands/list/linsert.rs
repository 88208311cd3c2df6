//! LINSERT: a new element beside a known one.

use crate::commands::args::is;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// LINSERT key BEFORE|AFTER pivot element
pub const COMMAND: Command = Command {
    name: "linsert",
    group: Group::List,
    since: "2.2.0",
    summary: "Adds an element before or after the first one equal to a pivot.",
    complexity: "O(N), when N is the pivot's distance from the front",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "where",
            &[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")],
        ),
        Arg::string("pivot"),
        Arg::string("element"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, pivot, element) = (args[1], args[3], args[4]);
    let after = is(args[2], "after");
    if !after && !is(args[2], "before") {
        return Err(CommandError::Syntax);
    }
    let Some(list) = ctx.db.list_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let inserted = match after {
        true => list.insert_after(pivot, element),
        false => list.insert_before(pivot, element),
    };
    if !inserted {
        ctx.reply.integer(-1);
        return Ok(());
    }
    ctx.reply.integer(list.len() as i64);
    ctx.db.changed(class::LIST, "linsert", key);
    Ok(())
}
