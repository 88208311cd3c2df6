//! BZPOPMIN and BZPOPMAX: take the member with the lowest or highest score of
//! the first set that has one, or wait for one.

use super::pop::{End, Shape, pop_first, wait};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// BZPOPMIN key [key ...] timeout
pub const BZPOPMIN: Command = Command {
    name: "bzpopmin",
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Removes and returns the member with the lowest score of the first set there is, and waits if there is none.",
    complexity: "O(log(N)), N being the size of the set.",
    arity: -3,
    flags: flag::WRITE | flag::BLOCKING | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, &["RW", "access", "delete"])],
    args: &[Arg::key("key").multiple(), Arg::double("timeout")],
    run: |ctx, args| run(ctx, args, End::Min),
    ..Command::BASE
};

/// BZPOPMAX key [key ...] timeout
pub const BZPOPMAX: Command = Command {
    name: "bzpopmax",
    summary: "Removes and returns the member with the highest score of the first set there is, and waits if there is none.",
    run: |ctx, args| run(ctx, args, End::Max),
    ..BZPOPMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    let last = args.len() - 1;
    let (keys, timeout_ms) = (&args[1..last], args::timeout_ms(args[last])?);
    if pop_first(ctx, keys, end, None, Shape::FlatWithKey)? {
        return Ok(());
    }
    wait(ctx, keys, timeout_ms)
}
