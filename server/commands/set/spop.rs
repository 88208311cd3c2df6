//! SPOP: takes members picked at random out of a set.

use super::put;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::sample;
use crate::keyspace::entry::Value;
use crate::keyspace::listpack::{Entry, IntBuffer, Listpack};
use crate::keyspace::recorder::class;
use crate::keyspace::set::Set;
use crate::resp::reply::ReplyBuffer;

/// SPOP key [count]
pub const COMMAND: Command = Command {
    name: "spop",
    group: Group::Set,
    since: "1.0.0",
    summary: "Removes members picked at random from a set and returns them.",
    complexity: "O(1), or O(N) with a count of N.",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RW", "access", "delete"])],
    args: &[
        Arg::key("key"),
        Arg::integer("count").optional().since("3.2.0"),
    ],
    run,
    ..Command::BASE
};

/// Members that one logged SREM names at most.
const BATCH: usize = 1024;
/// When so many times the members that stay are no more than those that go,
/// the ones to stay are picked.
const KEEPING_FACTOR: usize = 5;

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    match args.len() {
        2 => pop_one(ctx, args[1]),
        3 => {
            let text = "value is out of range, must be positive";
            let count = args::integer_between(args[2], 0..=i64::MAX, text)?;
            pop_some(ctx, args[1], count as usize)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let Some(set) = ctx.db.set_mut(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let (reply, effects) = (&mut *ctx.reply, &mut ctx.effects);
    set.pop_random(
        || fastrand::u64(..),
        |member| {
            put(reply, member);
            effects.add(&[b"SREM", key, member.bytes(&mut IntBuffer::new())]);
        },
    );
    ctx.db.changed(class::SET, "spop", key);
    if ctx.db.remove_if_empty(key)? {
        ctx.db.changed(class::GENERIC, "del", key);
    }
    Ok(())
}

fn pop_some(ctx: &mut Context<'_>, key: &[u8], count: usize) -> CommandResult {
    let Some(set) = ctx.db.set_mut(key)?.filter(|_| count != 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let len = set.len();
    if count >= len {
        return pop_all(ctx, key);
    }
    ctx.reply.set(count);
    let mut popped = Popped {
        reply: ctx.reply,
        effects: &mut ctx.effects,
        key,
        members: Vec::new(),
    };
    if (len - count) * KEEPING_FACTOR <= count {
        *set = keep_some(set, len - count, &mut popped);
    } else if let Set::Table(_) = set {
        for _ in 0..count {
            set.pop_random(|| fastrand::u64(..), |member| popped.add(member));
        }
    } else {
        let mut unwanted = Vec::with_capacity(count);
        sample::choose(set.iter(), len, count, |member| {
            popped.add(member);
            unwanted.push(member.to_vec());
            Ok(())
        })?;
        for member in &unwanted {
            set.remove(member);
        }
    }
    popped.log();
    ctx.db.changed(class::SET, "spop", key);
    Ok(())
}

fn pop_all(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    if let Some((Value::Set(set), _)) = ctx.db.take(key)? {
        // Only what is popped whole counts as read, as in Valkey.
        ctx.db.recorder.hits += 1;
        ctx.reply.set(set.len());
        set.iter().for_each(|member| put(ctx.reply, member));
    }
    let word = ctx.server.settings.server_del_word();
    ctx.effects.add(&[word, key]);
    ctx.db.changed(class::SET, "spop", key);
    ctx.db.changed(class::GENERIC, "del", key);
    Ok(())
}

/// Picks `kept` members, which make up a new set, and pops the others.
fn keep_some(set: &Set, kept: usize, popped: &mut Popped<'_>) -> Set {
    let mut rest = match set {
        Set::Int(_) => Set::new(),
        _ => Set::Packed(Listpack::new()),
    };
    let (mut left, mut to_keep) = (set.len(), kept);
    let mut buffer = IntBuffer::new();
    for member in set.iter() {
        if fastrand::usize(..left.max(1)) < to_keep {
            to_keep -= 1;
            rest.add(member.bytes(&mut buffer));
        } else {
            popped.add(member);
        }
        left = left.saturating_sub(1);
    }
    rest
}

/// Members on their way out: into the reply, and into the log as SREMs.
struct Popped<'a> {
    reply: &'a mut ReplyBuffer,
    effects: &'a mut Effects,
    key: &'a [u8],
    members: Vec<Vec<u8>>,
}

impl Popped<'_> {
    fn add(&mut self, member: Entry<'_>) {
        put(self.reply, member);
        self.members.push(member.to_vec());
        if self.members.len() == BATCH {
            self.log();
        }
    }

    fn log(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let mut effect: Vec<&[u8]> = vec![b"SREM", self.key];
        effect.extend(self.members.iter().map(Vec::as_slice));
        self.effects.add(&effect);
        self.members.clear();
    }
}
