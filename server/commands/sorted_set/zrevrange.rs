//! ZREVRANGE: members in a range of places, highest score first.

use super::selection::{By, Form, Selection};
use super::zrange;
use crate::commands::command::{Arg, Command};

/// ZREVRANGE key start stop [WITHSCORES]
pub const COMMAND: Command = Command {
    name: "zrevrange",
    summary: "Returns the members in a range of places, counted from the highest score.",
    args: &[
        Arg::key("key"),
        Arg::integer("start"),
        Arg::integer("stop"),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: |ctx, args| {
        let form = Form {
            by: Some(By::Rank),
            reverse: Some(true),
            scores: true,
        };
        Selection::parse(&args[2..], form)?.reply(ctx, args[1])
    },
    ..zrange::COMMAND
};
