//! ZLEXCOUNT: how many members are in a range, in a set whose scores are all
//! equal.

use super::bounds::Bounds;
use super::zcount::count;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};

/// ZLEXCOUNT key min max
pub const COMMAND: Command = Command {
    name: "zlexcount",
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Counts the members in a lexicographic range, where all scores are equal.",
    complexity: "O(log(N)), N being the size of the set.",
    arity: 4,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    run: |ctx, args| count(ctx, args[1], Bounds::lex(args[2], args[3])?),
    ..Command::BASE
};
