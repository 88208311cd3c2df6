//! ZUNION and ZUNIONSTORE: the members of any of several sets.

use super::combine::{AGGREGATE, Form, Operation, Request, WEIGHTS};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

const COMPLEXITY: &str =
    "O(N)+O(M*log(M)), N being the sum of the sets' sizes and M the size of the result.";

/// ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN |
/// MAX] [WITHSCORES]
pub const ZUNION: Command = Command {
    name: "zunion",
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the members of any of several sorted sets.",
    complexity: COMPLEXITY,
    arity: -3,
    flags: flag::READONLY | flag::MOVABLEKEYS,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::keynum(1, &["RO", "access"])],
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        WEIGHTS,
        AGGREGATE,
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: |ctx, args| {
        Request::parse(ctx, &args[1..], Operation::Union, Form::Reply, "zunion")?.reply(ctx)
    },
    ..Command::BASE
};

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...]
/// [AGGREGATE SUM | MIN | MAX]
pub const ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Stores the members of any of several sorted sets under a key.",
    complexity: COMPLEXITY,
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
    acl: acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, &["OW", "update"]),
        KeySpec::keynum(2, &["RO", "access"]),
    ],
    args: &[
        Arg::key("destination"),
        Arg::integer("numkeys"),
        Arg::new("key", ArgKind::Key(1)).multiple(),
        WEIGHTS,
        AGGREGATE,
    ],
    run: |ctx, args| {
        let form = Form::Store;
        Request::parse(ctx, &args[2..], Operation::Union, form, "zunionstore")?.store(ctx, args[1])
    },
    ..Command::BASE
};
