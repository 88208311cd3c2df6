//! ZRANGE: members in a range of places, scores, or names.

use super::selection::{Form, Selection};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};

/// The pair behind LIMIT.
pub const LIMIT: Arg =
    Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).after("LIMIT");

/// What a range is selected by.
pub const SORT_BY: Arg = Arg::one_of(
    "sortby",
    &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")],
);

/// The time that every range takes.
pub const COMPLEXITY: &str =
    "O(log(N)+M), N being the size of the set and M the number of members returned.";

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]
/// [WITHSCORES]
pub const COMMAND: Command = Command {
    name: "zrange",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the members in a range of places, scores or names.",
    complexity: COMPLEXITY,
    arity: -4,
    flags: flag::READONLY,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("stop"),
        SORT_BY.optional().since("6.2.0"),
        Arg::word("rev", "REV").optional().since("6.2.0"),
        LIMIT.optional().since("6.2.0"),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: |ctx, args| {
        let form = Form {
            by: None,
            reverse: None,
            scores: true,
        };
        Selection::parse(&args[2..], form)?.reply(ctx, args[1])
    },
    ..Command::BASE
};
