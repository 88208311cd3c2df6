//! XPENDING: what a group's consumers have not acknowledged.

use super::{ids, no_group, reply_id};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command, Group as Family, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::stream::{Group, Pending, StreamId};
use crate::resp::reply::ReplyBuffer;

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
pub const COMMAND: Command = Command {
    name: "xpending",
    group: Family::Stream,
    since: "5.0.0",
    summary: "Lists what the consumers of a group have not acknowledged.",
    complexity: "O(N) for N entries listed or passed over by IDLE.",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time")
                    .after("IDLE")
                    .optional()
                    .since("6.2.0"),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

/// Which entries are listed.
struct Filter<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

/// The filter; None for a summary.
fn parse<'a>(args: &[&'a [u8]]) -> Result<Option<Filter<'a>>, CommandError> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::Syntax);
    }
    let (mut min_idle_ms, mut rest) = (0, &args[3..]);
    if is(rest[0], "idle") {
        min_idle_ms = integer(rest[1])?;
        rest = &rest[2..];
    }
    let (&[start, end, count], rest) = rest.split_first_chunk().ok_or(CommandError::Syntax)?;
    let count = usize::try_from(integer(count)?).unwrap_or(0);
    Ok(Some(Filter {
        min_idle_ms,
        start: ids::start(start)?,
        end: ids::end(end)?,
        count,
        consumer: rest.first().copied(),
    }))
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, name) = (args[1], args[2]);
    let filter = parse(args)?;
    let now_ms = ctx.now_ms();
    let stream = ctx.db.stream(key)?;
    let Some(group) = stream.and_then(|stream| stream.groups.get(name)) else {
        return Err(no_group(key, name, ""));
    };
    match filter {
        None => summary(group, ctx.reply),
        Some(filter) => list(group, &filter, now_ms, ctx.reply),
    }
    Ok(())
}

/// How many there are, the first and the last id, and how many of whom.
fn summary(group: &Group, reply: &mut ReplyBuffer) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut pending = group.pending_from(StreamId::MIN).map(|(id, _)| id);
    let Some(first) = pending.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, pending.next_back().unwrap_or(first));
    let busy = |consumer: &&crate::keyspace::stream::Consumer| consumer.pending_len() > 0;
    reply.array(group.consumers().filter(busy).count());
    for consumer in group.consumers().filter(busy) {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_integer(consumer.pending_len() as i64);
    }
}

fn list(group: &Group, filter: &Filter<'_>, now_ms: i64, reply: &mut ReplyBuffer) {
    let array = reply.defer();
    let mut len = 0;
    let idle_ms = |entry: &Pending| now_ms.saturating_sub(entry.delivered_ms);
    let mut write = |(id, entry): (StreamId, Pending)| {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(&group.consumer(entry.consumer).name);
        reply.integer(idle_ms(&entry).max(0));
        reply.integer(entry.deliveries as i64);
        len += 1;
    };
    let wanted = |(id, entry): &(StreamId, Pending)| {
        *id <= filter.end && (filter.min_idle_ms == 0 || idle_ms(entry) >= filter.min_idle_ms)
    };
    let in_range = |(id, _): &(StreamId, Pending)| *id <= filter.end;
    match filter.consumer {
        None => group
            .pending_from(filter.start)
            .take_while(in_range)
            .filter(wanted)
            .take(filter.count)
            .for_each(&mut write),
        Some(name) => {
            let consumer = group.find(name).map(|id| group.consumer(id));
            let own = consumer
                .into_iter()
                .flat_map(|consumer| consumer.pending_from(filter.start));
            own.filter_map(|id| Some((id, group.pending(id)?)))
                .take_while(in_range)
                .filter(wanted)
                .take(filter.count)
                .for_each(&mut write);
        }
    }
    reply.finish_array(array, len);
}
