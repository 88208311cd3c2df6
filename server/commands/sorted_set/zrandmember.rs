//! ZRANDMEMBER: members picked at random.

use std::collections::HashSet;

use super::selection::{write_head, write_member, write_members};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::zset::ZSet;
use crate::resp::reply::ReplyBuffer;

/// The most picks with repetition that one reply may hold, so that no request
/// can ask for more memory than there is.
const MOST_PICKS: u64 = 1 << 26;

/// ZRANDMEMBER key [count [WITHSCORES]]
pub const COMMAND: Command = Command {
    name: "zrandmember",
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns members of a sorted set picked at random.",
    complexity: "O(N), N being the number of members returned.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::SORTEDSET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::block(
            "options",
            &[
                Arg::integer("count"),
                Arg::word("withscores", "WITHSCORES").optional(),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

/// How many members, and whether with their scores.
fn parse(args: &[&[u8]]) -> Result<(i64, bool), CommandError> {
    let count = args::integer(args[0])?;
    if count == i64::MIN {
        return Err(CommandError::err(format_args!(
            "value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let out_of_range = CommandError::err("value is out of range");
    let with_scores = match args[1..] {
        [] => false,
        [word] if args::is(word, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    let most = (i64::MAX / 2) as u64;
    let refused = (with_scores && count.unsigned_abs() > most)
        || (count < 0 && count.unsigned_abs() > MOST_PICKS);
    if refused {
        return Err(out_of_range);
    }
    Ok((count, with_scores))
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    if args.len() == 2 {
        let zset = ctx.db.zset(key)?;
        match zset.and_then(|zset| zset.random(|| fastrand::u64(..))) {
            Some((member, _)) => write_member(ctx.reply, member),
            None => ctx.reply.null(),
        }
        return Ok(());
    }
    let (count, with_scores) = parse(&args[2..])?;
    let Some(zset) = ctx.db.zset(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let picks = count.unsigned_abs() as usize;
    if count < 0 {
        write_head(ctx.reply, picks, with_scores);
        let picked = (0..picks).map_while(|_| zset.random(|| fastrand::u64(..)));
        write_members(ctx.reply, picked, with_scores);
    } else {
        write_distinct(ctx.reply, zset, picks, with_scores);
    }
    Ok(())
}

/// Replies up to `picks` members, none twice.
fn write_distinct(reply: &mut ReplyBuffer, zset: &ZSet, picks: usize, with_scores: bool) {
    let len = zset.len();
    let picks = picks.min(len);
    write_head(reply, picks, with_scores);
    if picks.saturating_mul(3) < len {
        // Floyd's sampling: one draw a pick.
        let mut ranks = HashSet::with_capacity(picks);
        for top in len - picks..len {
            let drawn = fastrand::usize(..=top);
            let rank = if ranks.insert(drawn) { drawn } else { top };
            ranks.insert(rank);
            write_members(reply, zset.range(rank..rank + 1), with_scores);
        }
        return;
    }
    // One walk: each member is taken with the chance that is left for it.
    let (mut wanted, mut left) = (picks, len);
    let taken = zset.iter().filter(|_| {
        let take = fastrand::usize(..left.max(1)) < wanted;
        left = left.saturating_sub(1);
        wanted -= usize::from(take);
        take
    });
    write_members(reply, taken, with_scores);
}
