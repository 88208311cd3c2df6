//! ZRANGEBYLEX and ZREVRANGEBYLEX: members in a range, in a set whose scores
//! are all equal.

use super::selection::{By, Form, Selection};
use super::zrange::{self, LIMIT};
use crate::commands::command::{Arg, Command};

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub const ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    since: "2.8.9",
    summary: "Returns the members in a lexicographic range, where all scores are equal.",
    args: &[
        Arg::key("key"),
        Arg::string("min"),
        Arg::string("max"),
        LIMIT.optional(),
    ],
    run: |ctx, args| Selection::parse(&args[2..], form(false))?.reply(ctx, args[1]),
    ..zrange::COMMAND
};

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub const ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    summary: "Returns the members in a lexicographic range, last first, where all scores are equal.",
    args: &[
        Arg::key("key"),
        Arg::string("max"),
        Arg::string("min"),
        LIMIT.optional(),
    ],
    run: |ctx, args| Selection::parse(&args[2..], form(true))?.reply(ctx, args[1]),
    ..ZRANGEBYLEX
};

fn form(reverse: bool) -> Form {
    Form {
        by: Some(By::Lex),
        reverse: Some(reverse),
        scores: true,
    }
}
