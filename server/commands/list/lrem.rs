//! LREM: removes elements by their value.

use super::remove_emptied;
use crate::commands::args::integer;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// LREM key count element
pub const COMMAND: Command = Command {
    name: "lrem",
    group: Group::List,
    since: "1.0.0",
    summary: "Removes elements equal to a value, from the front or the back.",
    complexity: "O(N+M), when N is the list's length and M the number of elements removed",
    arity: 4,
    flags: flag::WRITE,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[
        Arg::key("key"),
        Arg::integer("count"),
        Arg::string("element"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let count = symmetric(args[2])?;
    let Some(list) = ctx.db.list_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let removed = list.remove(count, args[3]);
    let is_empty = list.is_empty();
    ctx.reply.integer(removed as i64);
    if removed == 0 {
        return Ok(());
    }
    ctx.db.changed(class::LIST, "lrem", key);
    remove_emptied(&mut ctx.db, key, is_empty)
}

/// An integer whose opposite is one, too.
pub fn symmetric(arg: &[u8]) -> Result<i64, CommandError> {
    match integer(arg)? {
        i64::MIN => Err(CommandError::out_of_range(&format!(
            "value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        value => Ok(value),
    }
}
