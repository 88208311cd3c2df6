//! ZSCAN: visits a sorted set part by part.

use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::scan;
use crate::glob::{self, Case};
use crate::keyspace::listpack::IntBuffer;
use crate::keyspace::score::ScoreBuffer;
use crate::resp::reply::ReplyBuffer;

/// ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]
pub const COMMAND: Command = Command {
    name: "zscan",
    group: Group::SortedSet,
    since: "2.8.0",
    summary: "Visits the members of a sorted set part by part.",
    complexity: "O(1) for a call, O(N) for a whole visit, N being the size of the set.",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::word("noscores", "NOSCORES").optional(),
    ],
    run,
    ..Command::BASE
};

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
    with_scores: bool,
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        pattern: None,
        count: 10,
        with_scores: true,
    };
    let mut rest = args;
    while let [word, after @ ..] = rest {
        rest = match after {
            [count, after @ ..] if args::is(word, "COUNT") => {
                let count = args::integer(count)?;
                if count < 1 {
                    return Err(CommandError::Syntax);
                }
                options.count = count.unsigned_abs();
                after
            }
            [pattern, after @ ..] if args::is(word, "MATCH") => {
                options.pattern = (*pattern != b"*").then_some(pattern);
                after
            }
            after if args::is(word, "NOSCORES") => {
                options.with_scores = false;
                after
            }
            _ if args::is(word, "NOVALUES") => {
                return Err(CommandError::err(
                    "NOVALUES option can only be used in HSCAN",
                ));
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut cursor = scan::cursor(args[2])?;
    // Without a set the options don't matter, not even wrong ones.
    let Some(zset) = ctx.db.zset(args[1])? else {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.array(0);
        return Ok(());
    };
    let options = parse(&args[3..])?;
    let mut found = ReplyBuffer::new(ctx.reply.protocol);
    let (mut visited, mut len) = (0, 0);
    let (mut digits, mut text) = (IntBuffer::new(), ScoreBuffer::new());
    for _ in 0..options.count.saturating_mul(10) {
        cursor = zset.scan(cursor, |member, score| {
            visited += 1;
            let member = member.bytes(&mut digits);
            let unwanted = |pattern| !glob::matches(pattern, member, Case::Sensitive);
            if options.pattern.is_some_and(unwanted) {
                return;
            }
            found.bulk(member);
            len += 1;
            if options.with_scores {
                found.bulk(text.format(score));
                len += 1;
            }
        });
        if cursor == 0 || visited >= options.count {
            break;
        }
    }
    ctx.reply.array(2);
    ctx.reply
        .bulk(itoa::Buffer::new().format(cursor).as_bytes());
    ctx.reply.array(len);
    ctx.reply.raw(&found.buf);
    Ok(())
}
