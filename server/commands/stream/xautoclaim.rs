//! XAUTOCLAIM: gives a consumer whatever others have left idle for long.

use super::outcome::Outcome;
use super::xclaim::{Claimer, note};
use super::xreadgroup::find_or_add;
use super::{ids, no_group, reply_id};
use crate::commands::args::{integer, integer_between, is};
use crate::commands::command::{Arg, Command, Group as Family, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::stream::{Group, StreamId};
use crate::resp::reply::ReplyBuffer;

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
pub const COMMAND: Command = Command {
    name: "xautoclaim",
    group: Family::Stream,
    since: "6.2.0",
    summary: "Gives a consumer what others have not acknowledged for long.",
    complexity: "O(1) if COUNT is small.",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::word("justid", "JUSTID").optional(),
    ],
    run,
    ..Command::BASE
};

/// Entries looked at for each that may be claimed.
const ATTEMPTS: i64 = 10;
/// The most that COUNT can be: so many ids fill the address space.
const MAX_COUNT: i64 = i64::MAX / 16;

struct Options {
    min_idle_ms: i64,
    start: StreamId,
    count: i64,
    just_id: bool,
}

fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
    let min_idle_ms = integer(args[4])
        .map_err(|_| CommandError::err("Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let mut options = Options {
        min_idle_ms: min_idle_ms.max(0),
        start: ids::start(args[5])?,
        count: 100,
        just_id: false,
    };
    let mut words = args[6..].iter();
    while let Some(word) = words.next() {
        match words.as_slice().first() {
            Some(count) if is(word, "count") => {
                options.count = integer_between(count, 1..=MAX_COUNT, "COUNT must be > 0")?;
                words.next();
            }
            _ if is(word, "justid") => options.just_id = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, name, consumer_name) = (args[1], args[2], args[3]);
    let options = parse(args)?;
    let now_ms = ctx.now_ms();
    ctx.db.lookup(key)?;
    let stream = ctx.db.stream_mut(key)?;
    let Some((entries, group)) = stream.and_then(|stream| {
        let parts = &mut **stream;
        parts
            .groups
            .get_mut(name)
            .map(|group| (&parts.entries, group))
    }) else {
        return Err(no_group(key, name, ""));
    };
    let mut outcome = Outcome::default();
    let consumer = find_or_add(group, consumer_name, now_ms, &mut outcome);
    let claimer = Claimer {
        entries,
        consumer,
        now_ms,
        min_idle_ms: options.min_idle_ms,
        delivered_ms: now_ms,
        deliveries: None,
        just_id: options.just_id,
    };
    claim_idle(&claimer, group, &options, ctx.reply, &mut outcome);
    ctx.effects.suppress();
    outcome.add_to(&mut ctx.effects, [key, name, consumer_name], group);
    note(ctx, key, &outcome);
    Ok(())
}

/// Claims what is idle, and replies where to go on, what was claimed, and what
/// is not in the stream any more.
fn claim_idle(
    claimer: &Claimer<'_>,
    group: &mut Group,
    options: &Options,
    reply: &mut ReplyBuffer,
    outcome: &mut Outcome,
) {
    // The place to go on from comes first, and is known last.
    let mut claimed = ReplyBuffer::new(reply.protocol);
    let array = claimed.defer();
    let mut from = Some(options.start);
    let (mut attempts, mut count) = (options.count.saturating_mul(ATTEMPTS), options.count);
    let mut len = 0;
    let next_pending = |group: &Group, from: Option<StreamId>| {
        from.and_then(|from| group.pending_from(from).next().map(|(id, _)| id))
    };
    while attempts > 0
        && count > 0
        && let Some(id) = next_pending(group, from)
    {
        attempts -= 1;
        from = id.next();
        let forgotten = outcome.forgotten.len();
        if claimer.claim(group, id, false, &mut claimed, outcome) {
            len += 1;
            count -= 1;
        } else if outcome.forgotten.len() > forgotten {
            count -= 1;
        }
    }
    claimed.finish_array(array, len);
    reply.array(3);
    reply_id(reply, next_pending(group, from).unwrap_or(StreamId::MIN));
    reply.raw(&claimed.buf);
    reply.array(outcome.forgotten.len());
    for &id in &outcome.forgotten {
        reply_id(reply, id);
    }
}
