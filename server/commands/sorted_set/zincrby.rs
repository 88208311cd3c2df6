//! ZINCRBY: adds to a member's score.

use super::zadd;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ZINCRBY key increment member
pub const COMMAND: Command = Command {
    name: "zincrby",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Adds a number to the score of a member, which starts at 0 if it is new.",
    complexity: "O(log(N)), N being the size of the set.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("increment"),
        Arg::string("member"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = zadd::Options {
        increment: true,
        ..zadd::Options::default()
    };
    zadd::add(ctx, args[1], &args[2..], options)
}
