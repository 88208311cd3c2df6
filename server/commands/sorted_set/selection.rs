//! Which part of a sorted set a range command is about: parsed, replied, or
//! stored under another key.

use std::ops::Range;

use super::bounds::Bounds;
use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::entry::Value;
use crate::keyspace::listpack::{Entry, IntBuffer};
use crate::keyspace::recorder::class;
use crate::keyspace::zset::ZSet;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;

/// What a range command selects by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Rank,
    Score,
    Lex,
}

/// What the command's name leaves open, to be said by its options.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// None: BYSCORE or BYLEX may be given.
    pub by: Option<By>,
    /// None: REV may be given.
    pub reverse: Option<bool>,
    /// Whether WITHSCORES may be given.
    pub scores: bool,
}

/// A part of a sorted set.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    offset: i64,
    limit: i64,
    with_scores: bool,
}

impl<'a> Selection<'a> {
    /// Reads `min max [option …]`; reversed ranges of scores and members come
    /// as `max min`.
    pub fn parse(args: &[&'a [u8]], form: Form) -> Result<Self, CommandError> {
        let (mut by, mut reverse) = (form.by, form.reverse);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut at = 2;
        while at < args.len() {
            let word = args[at];
            if form.scores && args::is(word, "WITHSCORES") {
                with_scores = true;
            } else if args::is(word, "LIMIT") && at + 2 < args.len() {
                offset = args::integer(args[at + 1])?;
                limit = args::integer(args[at + 2])?;
                at += 2;
            } else if reverse.is_none() && args::is(word, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args::is(word, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args::is(word, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::err(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::err(
                "syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = match reverse && by != By::Rank {
            true => (args[1], args[0]),
            false => (args[0], args[1]),
        };
        let bounds = match by {
            By::Rank => Bounds::rank(min, max)?,
            By::Score => Bounds::score(min, max)?,
            By::Lex => Bounds::lex(min, max)?,
        };
        Ok(Selection {
            bounds,
            reverse,
            offset,
            limit,
            with_scores,
        })
    }

    /// The ranks that are selected.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let all = self.bounds.ranks(zset, self.reverse);
        if matches!(self.bounds, Bounds::Rank(..)) {
            return all;
        }
        // A negative offset skips all, a negative limit is none.
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let skipped = offset.min(all.len());
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let count = limit.min(all.len() - skipped);
        if self.reverse {
            all.end - skipped - count..all.end - skipped
        } else {
            all.start + skipped..all.start + skipped + count
        }
    }

    /// Replies the selected members of the set under `key`.
    pub fn reply(&self, ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
        let Some(zset) = ctx.db.zset(key)? else {
            ctx.reply.array(0);
            return Ok(());
        };
        let ranks = self.ranks(zset);
        let (count, range) = (ranks.len(), zset.range(ranks));
        write_head(ctx.reply, count, self.with_scores);
        if self.reverse {
            write_members(ctx.reply, range.rev(), self.with_scores);
        } else {
            write_members(ctx.reply, range, self.with_scores);
        }
        Ok(())
    }

    /// Stores the selected members of the set under `from` under `to`, and
    /// replies how many.
    pub fn store(&self, ctx: &mut Context<'_>, from: &[u8], to: &[u8]) -> CommandResult {
        let mut result = ZSet::new();
        if let Some(zset) = ctx.db.zset(from)? {
            let ranks = self.ranks(zset);
            result.prepare(ranks.len(), 0);
            let mut buffer = IntBuffer::new();
            for (member, score) in zset.range(ranks) {
                result.add(member.bytes(&mut buffer), score);
            }
        }
        store(ctx, to, result, "zrangestore")
    }
}

/// Puts a result under a key, or removes the key if the result is empty;
/// replies how many members there are.
pub fn store(
    ctx: &mut Context<'_>,
    key: &[u8],
    result: ZSet,
    event: &'static str,
) -> CommandResult {
    let count = result.len();
    if count != 0 {
        ctx.db.set_value(key, Value::ZSet(result), None)?;
        ctx.db.changed(class::ZSET, event, key);
    } else if ctx.db.delete(key)? {
        ctx.db.changed(class::GENERIC, "del", key);
    }
    ctx.reply.integer(count as i64);
    Ok(())
}

/// The head of a reply of `count` members: with scores, RESP3 has a pair for
/// each, RESP2 one flat array.
pub fn write_head(reply: &mut ReplyBuffer, count: usize, with_scores: bool) {
    let flat = with_scores && reply.protocol == Protocol::Resp2;
    reply.array(if flat { 2 * count } else { count });
}

/// The members announced by [`write_head`].
pub fn write_members<'a>(
    reply: &mut ReplyBuffer,
    members: impl Iterator<Item = (Entry<'a>, f64)>,
    with_scores: bool,
) {
    let nested = with_scores && reply.protocol == Protocol::Resp3;
    for (member, score) in members {
        if nested {
            reply.array(2);
        }
        write_member(reply, member);
        if with_scores {
            reply.double(score);
        }
    }
}

/// A member as a bulk string.
#[inline]
pub fn write_member(reply: &mut ReplyBuffer, member: Entry<'_>) {
    match member {
        Entry::Int(number) => reply.bulk_integer(number),
        Entry::Str(bytes) => reply.bulk(bytes),
    }
}
