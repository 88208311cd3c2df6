//! ZINTER and ZINTERSTORE: the members that are in all of several sets.

use super::combine::{Form, Operation, Request};
use super::zunion::{ZUNION, ZUNIONSTORE};
use crate::commands::command::Command;

const COMPLEXITY: &str = "O(N*K)+O(M*log(M)), N being the size of the smallest set, K the number of sets and M the size of the result.";

/// ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN |
/// MAX] [WITHSCORES]
pub const ZINTER: Command = Command {
    name: "zinter",
    summary: "Returns the members that are in all of several sorted sets.",
    complexity: COMPLEXITY,
    run: |ctx, args| {
        Request::parse(ctx, &args[1..], Operation::Inter, Form::Reply, "zinter")?.reply(ctx)
    },
    ..ZUNION
};

/// ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...]
/// [AGGREGATE SUM | MIN | MAX]
pub const ZINTERSTORE: Command = Command {
    name: "zinterstore",
    summary: "Stores the members that are in all of several sorted sets under a key.",
    complexity: COMPLEXITY,
    run: |ctx, args| {
        let form = Form::Store;
        Request::parse(ctx, &args[2..], Operation::Inter, form, "zinterstore")?.store(ctx, args[1])
    },
    ..ZUNIONSTORE
};
