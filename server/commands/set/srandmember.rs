//! SRANDMEMBER: members picked at random.

use super::put;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::sample::{self, Sampled};
use crate::keyspace::listpack::Entry;
use crate::keyspace::set::Set;

/// SRANDMEMBER key [count]
pub const COMMAND: Command = Command {
    name: "srandmember",
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns members of a set picked at random.",
    complexity: "O(1), or O(N) with a count of N.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::integer("count").optional().since("2.6.0"),
    ],
    run,
    ..Command::BASE
};

impl<'a> Sampled for &'a Set {
    type Element = Entry<'a>;

    fn size(self) -> usize {
        self.len()
    }

    fn elements(self) -> impl Iterator<Item = Entry<'a>> {
        self.iter()
    }

    fn pick(self) -> Option<Entry<'a>> {
        self.random(|| fastrand::u64(..))
    }

    fn picks_quickly(self) -> bool {
        matches!(self, Set::Table(_))
    }

    fn address(member: Entry<'a>) -> usize {
        match member {
            Entry::Int(number) => number as usize,
            Entry::Str(bytes) => bytes.as_ptr().addr(),
        }
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let count = match args.len() {
        2 => {
            let picked = ctx.db.set(args[1])?.and_then(Sampled::pick);
            match picked {
                None => ctx.reply.null(),
                Some(member) => put(ctx.reply, member),
            }
            return Ok(());
        }
        3 => sample::count(args[2])?,
        _ => return Err(CommandError::Syntax),
    };
    let set = ctx.db.set(args[1])?;
    let reply = &mut *ctx.reply;
    let start = reply.len();
    reply.array(sample::sample_len(set.map_or(0, |set| set.len()), count));
    let Some(set) = set else { return Ok(()) };
    let sampled = sample::sample(set, count, |member| {
        put(reply, member);
        sample::check_reply_len(reply.len() - start)
    });
    if sampled.is_err() {
        reply.truncate(start);
    }
    sampled
}
