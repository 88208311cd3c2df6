//! ZINTERCARD: how many members are in all of several sets.

use super::combine::{Form, Operation, Request};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};

/// ZINTERCARD numkeys key [key ...] [LIMIT limit]
pub const COMMAND: Command = Command {
    name: "zintercard",
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Counts the members that are in all of several sorted sets.",
    complexity: "O(N*K), N being the size of the smallest set and K the number of sets.",
    arity: -3,
    flags: flag::READONLY | flag::MOVABLEKEYS,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::keynum(1, &["RO", "access"])],
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").after("LIMIT").optional(),
    ],
    run: |ctx, args| {
        Request::parse(ctx, &args[1..], Operation::Inter, Form::Count, "zintercard")?.count(ctx)
    },
    ..Command::BASE
};
