//! ZADD: adds members, or gives them other scores; also what ZINCRBY runs.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::keyspace::zset::{Change, ZSet};

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
pub const COMMAND: Command = Command {
    name: "zadd",
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Adds members with their scores to a sorted set, or changes the scores of those it has.",
    complexity: "O(log(N)) for each member, N being the size of the set.",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")])
            .optional()
            .since("3.0.2"),
        Arg::one_of(
            "comparison",
            &[Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .optional()
        .since("6.2.0"),
        Arg::word("change", "CH").optional().since("3.0.2"),
        Arg::word("increment", "INCR").optional().since("3.0.2"),
        Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
    ],
    run,
    ..Command::BASE
};

/// Under which conditions, and how, scores are changed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub only_new: bool,
    pub only_known: bool,
    pub only_greater: bool,
    pub only_less: bool,
    /// Replies changed members, not only new ones.
    pub count_changed: bool,
    /// The score is added to the old one.
    pub increment: bool,
}

/// Options, and where the first score is.
fn parse(args: &[&[u8]]) -> Result<(Options, usize), CommandError> {
    let mut options = Options::default();
    let mut at = 2;
    while let Some(&word) = args.get(at) {
        let option = match word.len() {
            2 if args::is(word, "NX") => &mut options.only_new,
            2 if args::is(word, "XX") => &mut options.only_known,
            2 if args::is(word, "GT") => &mut options.only_greater,
            2 if args::is(word, "LT") => &mut options.only_less,
            2 if args::is(word, "CH") => &mut options.count_changed,
            4 if args::is(word, "INCR") => &mut options.increment,
            _ => break,
        };
        *option = true;
        at += 1;
    }
    let rest = args.len() - at;
    if rest == 0 || !rest.is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    if options.only_new && options.only_known {
        return Err(CommandError::err(
            "XX and NX options at the same time are not compatible",
        ));
    }
    let conditions = [options.only_greater, options.only_less, options.only_new];
    if conditions.into_iter().filter(|&set| set).count() > 1 {
        return Err(CommandError::err(
            "GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if options.increment && rest > 2 {
        return Err(CommandError::err(
            "INCR option supports a single increment-element pair",
        ));
    }
    Ok((options, at))
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (options, at) = parse(args)?;
    add(ctx, args[1], &args[at..], options)
}

/// Adds pairs of a score and a member to the set under `key`.
pub fn add(ctx: &mut Context<'_>, key: &[u8], pairs: &[&[u8]], options: Options) -> CommandResult {
    if let [score, member] = *pairs {
        let scores = [args::float(score)?];
        return add_parsed(ctx, key, &scores, &[score, member], options);
    }
    let scores: Result<Vec<f64>, CommandError> = pairs
        .iter()
        .step_by(2)
        .map(|arg| args::float(arg))
        .collect();
    add_parsed(ctx, key, &scores?, pairs, options)
}

/// Adds scores with members, every second of `pairs`, to the set under `key`.
pub fn add_parsed(
    ctx: &mut Context<'_>,
    key: &[u8],
    scores: &[f64],
    pairs: &[&[u8]],
    options: Options,
) -> CommandResult {
    let zset = match options.only_known {
        true => ctx.db.zset_mut(key)?,
        false => Some(ctx.db.zset_or_new(key)?),
    };
    let (mut added, mut updated, mut last) = (0, 0, None);
    if let Some(zset) = zset {
        let members = pairs.iter().skip(1).step_by(2);
        let longest = members.clone().map(|member| member.len()).max();
        zset.prepare(scores.len(), longest.unwrap_or(0));
        for (&score, member) in scores.iter().zip(members) {
            match add_one(zset, member, score, options)? {
                None => last = None,
                Some((change, score)) => {
                    added += i64::from(change == Change::Added);
                    updated += i64::from(change == Change::Updated);
                    last = Some(score);
                }
            }
        }
    }
    if added + updated != 0 {
        let event = if options.increment { "zincr" } else { "zadd" };
        ctx.db.changed(class::ZSET, event, key);
    }
    match (options.increment, last) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) if options.count_changed => ctx.reply.integer(added + updated),
        (false, _) => ctx.reply.integer(added),
    }
    Ok(())
}

/// What became of a member, and its score then; None when a condition kept
/// it as it was.
fn add_one(
    zset: &mut ZSet,
    member: &[u8],
    score: f64,
    options: Options,
) -> Result<Option<(Change, f64)>, CommandError> {
    let plain = Options {
        count_changed: options.count_changed,
        ..Options::default()
    };
    if options == plain {
        return Ok(Some((zset.add(member, score), score)));
    }
    let Some(old) = zset.score(member) else {
        if options.only_known {
            return Ok(None);
        }
        return Ok(Some((zset.add(member, score), score)));
    };
    if options.only_new {
        return Ok(None);
    }
    let score = if options.increment {
        old + score
    } else {
        score
    };
    if score.is_nan() {
        return Err(CommandError::err("resulting score is not a number (NaN)"));
    }
    if (options.only_less && score >= old) || (options.only_greater && score <= old) {
        return Ok(None);
    }
    Ok(Some((zset.add(member, score), score)))
}
