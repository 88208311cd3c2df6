//! ZMPOP: takes members off one end of the first set that has some.

use super::pop::Multiple;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// Which end is popped.
pub const WHERE: Arg = Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]);

/// The time that ZMPOP and BZMPOP take.
pub const COMPLEXITY: &str = "O(K)+O(M*log(N)), K being the number of keys, N the size of the set and M the number of members removed.";

/// ZMPOP numkeys key [key ...] MIN | MAX [COUNT count]
pub const COMMAND: Command = Command {
    name: "zmpop",
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Removes and returns members with the lowest or highest scores of the first set there is.",
    complexity: COMPLEXITY,
    arity: -4,
    flags: flag::WRITE | flag::MOVABLEKEYS,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::keynum(1, &["RW", "access", "delete"])],
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        WHERE,
        Arg::integer("count").after("COUNT").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if !Multiple::parse(&args[1..])?.pop(ctx)? {
        ctx.reply.null_array();
    }
    Ok(())
}
