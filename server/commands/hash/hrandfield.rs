//! HRANDFIELD: fields picked at random.

use super::put;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::sample::{self, Sampled};
use crate::keyspace::hash::Hash;
use crate::keyspace::listpack::Entry;
use crate::resp::Protocol;

/// HRANDFIELD key [count [WITHVALUES]]
pub const COMMAND: Command = Command {
    name: "hrandfield",
    group: Group::Hash,
    since: "6.2.0",
    summary: "Returns fields of a hash picked at random.",
    complexity: "O(N) with N fields returned.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::block(
            "options",
            &[
                Arg::integer("count"),
                Arg::word("withvalues", "WITHVALUES").optional(),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

impl<'a> Sampled for &'a Hash {
    type Element = (Entry<'a>, Entry<'a>);

    fn size(self) -> usize {
        self.len()
    }

    fn elements(self) -> impl Iterator<Item = Self::Element> {
        self.iter()
    }

    fn pick(self) -> Option<Self::Element> {
        self.random(|| fastrand::u64(..))
    }

    fn picks_quickly(self) -> bool {
        matches!(self, Hash::Table(_) | Hash::Expiring(_))
    }

    fn address((field, _): Self::Element) -> usize {
        match field {
            Entry::Int(number) => number as usize,
            Entry::Str(bytes) => bytes.as_ptr().addr(),
        }
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let Some(count) = args.get(2) else {
        let picked = ctx.db.hash(args[1])?.and_then(Sampled::pick);
        match picked {
            None => ctx.reply.null(),
            Some((field, _)) => put(ctx.reply, field),
        }
        return Ok(());
    };
    let count = sample::count(count)?;
    let with_values = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && args::is(word, "WITHVALUES") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::err("value is out of range"));
    }
    let hash = ctx.db.hash(args[1])?;
    let len = sample::sample_len(hash.map_or(0, |hash| hash.len()), count);
    let reply = &mut *ctx.reply;
    let start = reply.len();
    let in_pairs = with_values && reply.protocol == Protocol::Resp3;
    reply.array(if with_values && !in_pairs {
        2 * len
    } else {
        len
    });
    let Some(hash) = hash else { return Ok(()) };
    let sampled = sample::sample(hash, count, |(field, value)| {
        if in_pairs {
            reply.array(2);
        }
        put(reply, field);
        if with_values {
            put(reply, value);
        }
        sample::check_reply_len(reply.len() - start)
    });
    if sampled.is_err() {
        reply.truncate(start);
    }
    sampled
}
