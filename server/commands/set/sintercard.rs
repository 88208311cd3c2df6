//! SINTERCARD: how many members several sets have in common.

use std::ops::ControlFlow;

use super::algebra::{intersection, sets};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// SINTERCARD numkeys key [key …] [LIMIT limit]
pub const COMMAND: Command = Command {
    name: "sintercard",
    group: Group::Set,
    since: "7.0.0",
    summary: "Counts the members that several sets have in common.",
    complexity: "O(N*M) at worst, with N members in the smallest of M sets.",
    arity: -3,
    flags: flag::READONLY | flag::MOVABLEKEYS,
    acl: acl::SET,
    keys: &[KeySpec::keynum(1, &["RO", "access"])],
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").after("LIMIT").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let text = "numkeys should be greater than 0";
    let count = args::integer_between(args[1], 1..=i64::MAX, text)? as usize;
    if count > args.len() - 2 {
        return Err(CommandError::err(
            "Number of keys can't be greater than number of args",
        ));
    }
    let (keys, options) = args[2..].split_at(count);
    let mut limit = 0;
    for option in options.chunks(2) {
        match option {
            [word, value] if args::is(word, "LIMIT") => {
                limit = args::integer_between(value, 0..=i64::MAX, "LIMIT can't be negative")?;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    let sets = sets(&mut ctx.db, keys)?;
    let mut found = 0;
    let _ = intersection(&sets, &mut |_| {
        found += 1;
        match found == limit {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    ctx.reply.integer(found);
    Ok(())
}
