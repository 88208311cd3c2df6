//! XREADGROUP: hands entries out to the consumers of a group.

use super::outcome::Outcome;
use super::xread::{Options, Replies, STREAMS, parse, streams_from, wait_or_nothing};
use super::{ids, no_group, reply_entry, reply_id};
use crate::commands::command::{Arg, Command, Group as Family, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::keys::by_first_spec;
use crate::keyspace::recorder::class;
use crate::keyspace::stream::{ConsumerId, Entries, Group, Pending, StreamId};
use crate::resp::reply::ReplyBuffer;

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK]
/// STREAMS key [key …] id [id …]
pub const COMMAND: Command = Command {
    name: "xreadgroup",
    group: Family::Stream,
    since: "5.0.0",
    summary: "Hands entries out to a consumer of a group, or waits for some.",
    complexity: "O(M) for M entries given, and O(N) for XADD to serve N who wait.",
    arity: -7,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
    acl: acl::STREAM,
    keys: &[streams_from(4)],
    find_keys: Some(|args, found| {
        let options = parse(args, true).ok();
        by_first_spec(options.map(|options| options.key_positions()), found)
    }),
    args: &[
        Arg::block(
            "group-block",
            &[Arg::string("group"), Arg::string("consumer")],
        )
        .after("GROUP"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        Arg::word("noack", "NOACK").optional(),
        STREAMS,
    ],
    run,
    ..Command::BASE
};

/// What is read of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// What nobody has got yet.
    New,
    /// What the consumer has not acknowledged, behind this id.
    Own(StreamId),
}

fn meaningless(symbol: char) -> CommandError {
    CommandError::err(format!(
        "The {symbol} ID is meaningless in the context of XREADGROUP: you want to read the \
         history of this consumer by specifying a proper ID, or use the > ID to get new messages. \
         The {symbol} ID would just return an empty result set."
    ))
}

fn wanted(arg: &[u8]) -> Result<Wanted, CommandError> {
    match arg {
        b"$" => Err(meaningless('$')),
        b"+" => Err(meaningless('+')),
        b">" => Ok(Wanted::New),
        _ => ids::strict(arg).map(|id| match id {
            StreamId::MAX => Wanted::New,
            id => Wanted::Own(id),
        }),
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args, true)?;
    let (group, _) = options.group.ok_or(CommandError::Syntax)?;
    let keys = options.keys(args);
    let mut reads: smallvec::SmallVec<[Wanted; 8]> = smallvec::SmallVec::new();
    for (key, arg) in keys.iter().zip(options.ids(args)) {
        let stream = ctx.db.stream(key)?;
        if stream.is_none_or(|stream| !stream.groups.contains_key(group)) {
            return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
        }
        reads.push(wanted(arg)?);
    }
    ctx.effects.suppress();
    let mut replies = Replies::default();
    for (key, &wanted) in keys.iter().zip(&reads) {
        read(ctx, key, wanted, &options, &mut replies)?;
    }
    if !replies.finish(ctx.reply) {
        wait_or_nothing(ctx, keys, options.block_ms, None);
    }
    Ok(())
}

/// Reads one stream.
fn read(
    ctx: &mut Context<'_>,
    key: &[u8],
    wanted: Wanted,
    options: &Options<'_>,
    replies: &mut Replies,
) -> CommandResult {
    let now_ms = ctx.now_ms();
    // Valkey looks the stream up once more here.
    ctx.db.recorder.hits += 1;
    let (Some((name, consumer_name)), Some(stream)) = (options.group, ctx.db.stream_mut(key)?)
    else {
        return Ok(());
    };
    let parts = &mut **stream;
    let Some(group) = parts.groups.get_mut(name) else {
        return Ok(());
    };
    let mut outcome = Outcome::default();
    let consumer = find_or_add(group, consumer_name, now_ms, &mut outcome);
    let reader = Reader {
        entries: &parts.entries,
        consumer,
        now_ms,
        count: options.count,
        no_ack: options.no_ack,
    };
    match wanted {
        Wanted::Own(after) => {
            replies.next(ctx.reply, key);
            reader.repeat(group, after, ctx.reply, &mut outcome);
        }
        Wanted::New if parts.entries.has_after(group.last_id) => {
            replies.next(ctx.reply, key);
            reader.hand_out(group, ctx.reply, &mut outcome);
        }
        Wanted::New => {}
    }
    outcome.add_to(&mut ctx.effects, [key, name, consumer_name], group);
    if outcome.created {
        ctx.db
            .changed_beside(class::STREAM, "xgroup-createconsumer", key);
    } else if !outcome.is_empty() {
        ctx.db.recorder.dirty += 1;
    }
    Ok(())
}

/// The consumer of this name, made if there is none, and seen now.
pub fn find_or_add(
    group: &mut Group,
    name: &[u8],
    now_ms: i64,
    outcome: &mut Outcome,
) -> ConsumerId {
    let added = group.add_consumer(name, now_ms);
    outcome.created = added.is_some();
    let id = added
        .or_else(|| group.find(name))
        .expect("it was there or was added");
    group.consumer_mut(id).seen_ms = now_ms;
    id
}

/// One consumer reading one stream.
struct Reader<'a> {
    entries: &'a Entries,
    consumer: ConsumerId,
    now_ms: i64,
    count: usize,
    no_ack: bool,
}

impl Reader<'_> {
    /// Entries that nobody has got yet.
    fn hand_out(&self, group: &mut Group, reply: &mut ReplyBuffer, outcome: &mut Outcome) {
        let array = reply.defer();
        let mut len = 0;
        let start = group.last_id.next().unwrap_or(StreamId::MAX);
        for entry in self.entries.range(start, StreamId::MAX).take(self.count) {
            let id = entry.id;
            reply_entry(reply, entry);
            len += 1;
            self.advance(group, id);
            outcome.advanced = true;
            if !self.no_ack {
                let pending = Pending {
                    delivered_ms: self.now_ms,
                    deliveries: 1,
                    consumer: self.consumer,
                };
                group.assign(id, pending);
                outcome.claimed.push((id, pending));
                group.consumer_mut(self.consumer).active_ms = Some(self.now_ms);
            }
        }
        reply.finish_array(array, len);
    }

    /// Moves the group on to an entry.
    fn advance(&self, group: &mut Group, id: StreamId) {
        match group.entries_read {
            Some(read)
                if group.last_id >= self.entries.first_id()
                    && !self.entries.has_deleted_from(group.last_id) =>
            {
                group.entries_read = Some(read.wrapping_add(1));
            }
            _ => group.entries_read = self.entries.count_up_to(id),
        }
        group.last_id = id;
    }

    /// Entries that the consumer has not acknowledged, once more.
    fn repeat(
        &self,
        group: &mut Group,
        after: StreamId,
        reply: &mut ReplyBuffer,
        outcome: &mut Outcome,
    ) {
        let start = after.next().unwrap_or(StreamId::MAX);
        let consumer = group.consumer(self.consumer);
        let own: Vec<StreamId> = consumer.pending_from(start).take(self.count).collect();
        reply.array(own.len());
        for id in own {
            match self.entries.get(id) {
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
                Some(entry) => {
                    reply_entry(reply, entry);
                    if let Some(mut pending) = group.pending(id) {
                        pending.delivered_ms = self.now_ms;
                        pending.deliveries = pending.deliveries.saturating_add(1);
                        group.assign(id, pending);
                        outcome.claimed.push((id, pending));
                    }
                }
            }
        }
    }
}
