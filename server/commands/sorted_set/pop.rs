//! Taking members off one end of a sorted set: what ZPOPMIN, ZMPOP and their
//! relatives share.

use super::selection::write_member;
use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Min,
    Max,
}

impl End {
    /// `MIN` or `MAX`.
    pub fn parse(arg: &[u8]) -> Result<End, CommandError> {
        if args::is(arg, "MIN") {
            Ok(End::Min)
        } else if args::is(arg, "MAX") {
            Ok(End::Max)
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// How popped members are replied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `member score member score …`
    Flat,
    /// `[member score] [member score] …`
    Nested,
    /// `key member score`
    FlatWithKey,
    /// `key [[member score] …]`
    NestedWithKey,
}

/// Takes up to `count` (at least 1) members off the set under `key` and
/// replies them. Returns how many; nothing happens when there is none.
pub fn pop(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
    shape: Shape,
) -> Result<usize, CommandError> {
    let Some(zset) = ctx.db.zset_mut(key)? else {
        return Ok(0);
    };
    let len = zset.len();
    let count = count.min(len);
    match shape {
        Shape::Flat => ctx.reply.array(2 * count),
        Shape::Nested => ctx.reply.array(count),
        Shape::FlatWithKey => {
            ctx.reply.array(2 * count + 1);
            ctx.reply.bulk(key);
        }
        Shape::NestedWithKey => {
            ctx.reply.array(2);
            ctx.reply.bulk(key);
            ctx.reply.array(count);
        }
    }
    let nested = matches!(shape, Shape::Nested | Shape::NestedWithKey);
    let reply = &mut *ctx.reply;
    let mut write = |(member, score)| {
        if nested {
            reply.array(2);
        }
        write_member(reply, member);
        reply.double(score);
    };
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    match end {
        End::Min => zset.range(ranks.clone()).for_each(&mut write),
        End::Max => zset.range(ranks.clone()).rev().for_each(&mut write),
    }
    zset.remove_ranks(ranks, |_, _| {});
    ctx.db.changed(class::ZSET, end.event(), key);
    if ctx.db.remove_if_empty(key)? {
        ctx.db.changed(class::GENERIC, "del", key);
    }
    Ok(count)
}

/// Pops from the first of `keys` that has a set, and logs that as a pop from
/// this key; false when none has.
pub fn pop_first(
    ctx: &mut Context<'_>,
    keys: &[&[u8]],
    end: End,
    count: Option<usize>,
    shape: Shape,
) -> Result<bool, CommandError> {
    for key in keys {
        let popped = pop(ctx, key, end, count.unwrap_or(1), shape)?;
        if popped == 0 {
            continue;
        }
        match count {
            None => ctx.effects.add(&[end.command(), key]),
            Some(_) => {
                let mut digits = itoa::Buffer::new();
                let count = digits.format(popped).as_bytes();
                ctx.effects.add(&[end.command(), key, count]);
            }
        }
        return Ok(true);
    }
    Ok(false)
}

/// What ZMPOP and BZMPOP take: `numkeys key … MIN|MAX [COUNT count]`.
pub struct Multiple<'s, 'a> {
    pub keys: &'s [&'a [u8]],
    pub end: End,
    pub count: usize,
}

impl<'s, 'a> Multiple<'s, 'a> {
    /// Reads the arguments from `numkeys` on.
    pub fn parse(args: &'s [&'a [u8]]) -> Result<Self, CommandError> {
        let text = "numkeys should be greater than 0";
        let number = args::integer_between(args[0], 1..=i64::MAX, text)?;
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if number >= args.len() - 1 {
            return Err(CommandError::Syntax);
        }
        let (keys, rest) = args[1..].split_at(number);
        let end = End::parse(rest[0])?;
        let count = match rest[1..] {
            [] => 1,
            [word, count] if args::is(word, "COUNT") => {
                let text = "count should be greater than 0";
                args::integer_between(count, 1..=i64::MAX, text)?
            }
            [word, count, ..] if args::is(word, "COUNT") => {
                let text = "count should be greater than 0";
                args::integer_between(count, 1..=i64::MAX, text)?;
                return Err(CommandError::Syntax);
            }
            _ => return Err(CommandError::Syntax),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Multiple { keys, end, count })
    }

    /// Pops; false when none of the keys has a set.
    pub fn pop(&self, ctx: &mut Context<'_>) -> Result<bool, CommandError> {
        let shape = Shape::NestedWithKey;
        pop_first(ctx, self.keys, self.end, Some(self.count), shape)
    }
}

/// Waits for one of `keys`.
pub fn wait(ctx: &mut Context<'_>, keys: &[&[u8]], timeout_ms: u64) -> CommandResult {
    use crate::connection::blocking::{BlockRequest, TimeoutReply};
    ctx.block(BlockRequest {
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        timeout_ms,
        on_timeout: TimeoutReply::NullArray,
        args: None,
    });
    Ok(())
}
