//! BZMPOP: takes members off one end of the first set that has some, or waits
//! for one.

use super::pop::{Multiple, wait};
use super::zmpop::{COMPLEXITY, WHERE};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count]
pub const COMMAND: Command = Command {
    name: "bzmpop",
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Removes and returns members with the lowest or highest scores of the first set there is, and waits if there is none.",
    complexity: COMPLEXITY,
    arity: -5,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::keynum(2, &["RW", "access", "delete"])],
    args: &[
        Arg::double("timeout"),
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        WHERE,
        Arg::integer("count").after("COUNT").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let wanted = Multiple::parse(&args[2..])?;
    let timeout_ms = args::timeout_ms(args[1])?;
    if wanted.pop(ctx)? {
        return Ok(());
    }
    wait(ctx, wanted.keys, timeout_ms)
}
