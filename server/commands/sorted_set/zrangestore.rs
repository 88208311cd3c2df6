//! ZRANGESTORE: stores a range of a sorted set under another key.

use super::selection::{Form, Selection};
use super::zrange::{LIMIT, SORT_BY};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

/// ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
pub const COMMAND: Command = Command {
    name: "zrangestore",
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Stores the members in a range of a sorted set under another key.",
    complexity: "O(log(N)+M), N being the size of the set and M the number of members stored.",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, &["OW", "update"]),
        KeySpec::one(2, &["RO", "access"]),
    ],
    args: &[
        Arg::key("dst"),
        Arg::new("src", ArgKind::Key(1)),
        Arg::string("min"),
        Arg::string("max"),
        SORT_BY.optional(),
        Arg::word("rev", "REV").optional(),
        LIMIT.optional(),
    ],
    run: |ctx, args| {
        let form = Form {
            by: None,
            reverse: None,
            scores: false,
        };
        Selection::parse(&args[3..], form)?.store(ctx, args[2], args[1])
    },
    ..Command::BASE
};
