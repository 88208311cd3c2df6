//! ZDIFF and ZDIFFSTORE: the members of the first set that are in none of the
//! others.

use super::combine::{Form, Operation, Request};
use super::zunion::{ZUNION, ZUNIONSTORE};
use crate::commands::command::{Arg, ArgKind, Command};

const COMPLEXITY: &str = "O(N*K)+O(M*log(M)), N being the size of the first set, K the number of sets and M the size of the result.";

/// ZDIFF numkeys key [key ...] [WITHSCORES]
pub const ZDIFF: Command = Command {
    name: "zdiff",
    summary: "Returns the members of the first sorted set that the others don't have.",
    complexity: COMPLEXITY,
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: |ctx, args| {
        Request::parse(ctx, &args[1..], Operation::Diff, Form::Reply, "zdiff")?.reply(ctx)
    },
    ..ZUNION
};

/// ZDIFFSTORE destination numkeys key [key ...]
pub const ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    since: "6.2.0",
    summary: "Stores the members of the first sorted set that the others don't have under a key.",
    complexity: COMPLEXITY,
    args: &[
        Arg::key("destination"),
        Arg::integer("numkeys"),
        Arg::new("key", ArgKind::Key(1)).multiple(),
    ],
    run: |ctx, args| {
        let form = Form::Store;
        Request::parse(ctx, &args[2..], Operation::Diff, form, "zdiffstore")?.store(ctx, args[1])
    },
    ..ZUNIONSTORE
};
