//! ZRANGEBYSCORE and ZREVRANGEBYSCORE: members with a score in a range.

use super::selection::{By, Form, Selection};
use super::zrange::{self, LIMIT};
use crate::commands::command::{Arg, Command};

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub const ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    since: "1.0.5",
    summary: "Returns the members with a score in a range, lowest first.",
    args: &[
        Arg::key("key"),
        Arg::double("min"),
        Arg::double("max"),
        Arg::word("withscores", "WITHSCORES")
            .optional()
            .since("2.0.0"),
        LIMIT.optional(),
    ],
    run: |ctx, args| Selection::parse(&args[2..], form(false))?.reply(ctx, args[1]),
    ..zrange::COMMAND
};

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub const ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    since: "2.2.0",
    summary: "Returns the members with a score in a range, highest first.",
    args: &[
        Arg::key("key"),
        Arg::double("max"),
        Arg::double("min"),
        Arg::word("withscores", "WITHSCORES").optional(),
        LIMIT.optional(),
    ],
    run: |ctx, args| Selection::parse(&args[2..], form(true))?.reply(ctx, args[1]),
    ..zrange::COMMAND
};

fn form(reverse: bool) -> Form {
    Form {
        by: Some(By::Score),
        reverse: Some(reverse),
        scores: true,
    }
}
