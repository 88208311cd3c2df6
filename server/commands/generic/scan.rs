//! SCAN: all keys, some at a time. The cursor is `slot << 32 | position within
//! the slot's table`, so nothing is kept between calls.

use super::walk::{self, Pattern};
use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::scan::{cursor, refuse_of_others};
use crate::keyspace::entry::{Entry, ValueType};
use crate::resp::reply::ReplyBuffer;

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub const COMMAND: Command = Command {
    name: "scan",
    group: Group::Generic,
    since: "2.8.0",
    summary: "Goes through the keys, some with each call.",
    complexity: "O(1) for each call, O(N) for a walk through all N keys.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::KEYSPACE,
    locks: Locks::None,
    args: &[
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::string("type").after("TYPE").optional().since("6.0.0"),
    ],
    run,
    ..Command::BASE
};

struct Options<'a> {
    cursor: u64,
    pattern: Pattern<'a>,
    count: u64,
    /// None: any; Some(None): a type that no key here can have.
    value_type: Option<Option<ValueType>>,
}

impl Options<'_> {
    fn want(&self, entry: &Entry) -> bool {
        let of_type = match self.value_type {
            None => true,
            Some(wanted) => wanted == entry.known_type(),
        };
        of_type && self.pattern.matches(entry.key())
    }
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let cursor = cursor(args[1])?;
    let mut options = Options {
        cursor,
        pattern: Pattern::new(None),
        count: 10,
        value_type: None,
    };
    for pair in args[2..].chunks(2) {
        refuse_of_others(pair[0])?;
        let [word, value] = *pair else {
            return Err(CommandError::Syntax);
        };
        if args::is(word, "COUNT") {
            let count = args::integer(value)?;
            if count < 1 {
                return Err(CommandError::Syntax);
            }
            options.count = count as u64;
        } else if args::is(word, "MATCH") {
            options.pattern = Pattern::new(Some(value));
        } else if args::is(word, "TYPE") {
            options.value_type = Some(type_named(value)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// The type that a client names.
pub fn type_named(name: &[u8]) -> Result<Option<ValueType>, CommandError> {
    use ValueType::{Hash, List, Set, Stream, String, ZSet};
    let known = [String, List, Set, Hash, ZSet, Stream];
    match known.into_iter().find(|t| args::is(name, t.name())) {
        Some(found) => Ok(Some(found)),
        None => {
            let name = std::string::String::from_utf8_lossy(name);
            Err(CommandError::err(format!("unknown type name '{name}'")))
        }
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args)?;
    let mut found = ReplyBuffer::new(ctx.reply.protocol);
    let mut count = 0;
    let next = walk_some(ctx, &options, |key| {
        found.bulk(key);
        count += 1;
    })?;
    ctx.reply.array(2);
    let mut digits = itoa::Buffer::new();
    ctx.reply.bulk(digits.format(next).as_bytes());
    ctx.reply.array(count);
    ctx.reply.raw(&found.buf);
    Ok(())
}

/// Gives keys to `found` from the cursor on until about `count` keys were
/// looked at; returns the next cursor, 0 at the end.
fn walk_some(
    ctx: &mut Context<'_>,
    options: &Options<'_>,
    mut found: impl FnMut(&[u8]),
) -> Result<u64, CommandError> {
    let mut slots = options.pattern.slots();
    let mut cursor = options.cursor;
    if (cursor >> 32) < u64::from(slots.start) {
        cursor = u64::from(slots.start) << 32;
    }
    if (cursor >> 32) >= u64::from(slots.end) {
        return Ok(0);
    }
    slots.start = (cursor >> 32) as u32;
    let server = ctx.server;
    let (mut visited, mut next) = (0, 0);
    for stripe in walk::stripes_of_slots(&slots) {
        walk::remove_due(ctx, stripe, |entry| options.want(entry));
        ctx.each_stripe(std::iter::once(stripe), |db, stripe, _| {
            if !db.stripe_may_have_keys(stripe) {
                return Ok(true);
            }
            for slot in walk::shown_slots(server, &slots, stripe) {
                let begin = u64::from(slot) << 32;
                let mut at = Some(cursor.max(begin));
                while let Some(position) = at {
                    at = db.scan_slot(position, |entry| {
                        visited += 1;
                        if options.want(entry) {
                            found(entry.key());
                        }
                    })?;
                    if visited >= options.count {
                        next = at.unwrap_or(u64::from(slot + 1) << 32);
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })?;
        if visited >= options.count {
            break;
        }
    }
    let over = (next >> 32) >= u64::from(slots.end);
    Ok(if over { 0 } else { next })
}
