//! XCLAIM: gives a consumer entries that another has not acknowledged.

use super::outcome::Outcome;
use super::xreadgroup::find_or_add;
use super::{ids, no_group, reply_entry, reply_id};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, ArgKind, Command, Group as Family, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::keyspace::stream::{ConsumerId, Entries, Group, Pending, StreamId};
use crate::resp::reply::ReplyBuffer;

/// XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME unix-ms]
/// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
pub const COMMAND: Command = Command {
    name: "xclaim",
    group: Family::Stream,
    since: "5.0.0",
    summary: "Gives a consumer entries that another one has not acknowledged.",
    complexity: "O(log N) for each entry, when N are not acknowledged.",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("id").multiple(),
        Arg::integer("ms").after("IDLE").optional(),
        Arg::new("unix-time-milliseconds", ArgKind::UnixTime)
            .after("TIME")
            .optional(),
        Arg::integer("count").after("RETRYCOUNT").optional(),
        Arg::word("force", "FORCE").optional(),
        Arg::word("justid", "JUSTID").optional(),
        Arg::string("lastid").after("LASTID").optional(),
    ],
    run,
    ..Command::BASE
};

struct Options {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    /// When the entries count as delivered.
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

/// An integer, else an error that names the option.
fn named(arg: &[u8], name: &str) -> Result<i64, CommandError> {
    integer(arg).map_err(|_| CommandError::err(format!("Invalid {name} argument for XCLAIM")))
}

fn parse(args: &[&[u8]], now_ms: i64) -> Result<Options, CommandError> {
    let min_idle_ms = named(args[4], "min-idle-time")?.max(0);
    let ids: Vec<StreamId> = args[5..]
        .iter()
        .map_while(|arg| ids::strict(arg).ok())
        .collect();
    let mut options = Options {
        min_idle_ms,
        delivered_ms: None,
        deliveries: None,
        force: false,
        just_id: false,
        last_id: StreamId::MIN,
        ids,
    };
    let mut words = args[5 + options.ids.len()..].iter();
    while let Some(word) = words.next() {
        let next = words.as_slice().first();
        match next {
            _ if is(word, "force") => options.force = true,
            _ if is(word, "justid") => options.just_id = true,
            Some(value) if is(word, "idle") => {
                let idle_ms = named(value, "IDLE option")?;
                options.delivered_ms = Some(now_ms.saturating_sub(idle_ms));
                words.next();
            }
            Some(value) if is(word, "time") => {
                options.delivered_ms = Some(named(value, "TIME option")?);
                words.next();
            }
            Some(value) if is(word, "retrycount") => {
                options.deliveries = u64::try_from(named(value, "RETRYCOUNT option")?).ok();
                words.next();
            }
            Some(value) if is(word, "lastid") => {
                options.last_id = ids::strict(value)?;
                words.next();
            }
            _ => {
                let word = String::from_utf8_lossy(word);
                let text = format!("Unrecognized XCLAIM option '{word}'");
                return Err(CommandError::err(text));
            }
        }
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, name, consumer_name) = (args[1], args[2], args[3]);
    let now_ms = ctx.now_ms();
    let replaying = ctx.session.replaying;
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
    let options = parse(args, now_ms)?;
    let mut outcome = Outcome::default();
    if options.last_id > group.last_id {
        group.last_id = options.last_id;
        outcome.advanced = true;
    }
    // A time that makes no sense is taken as now; the log's own times do.
    let delivered_ms = options.delivered_ms;
    let delivered_ms = delivered_ms
        .filter(|ms| replaying || (0..=now_ms).contains(ms))
        .unwrap_or(now_ms);
    let seen_ms = if replaying { delivered_ms } else { now_ms };
    let consumer = find_or_add(group, consumer_name, seen_ms, &mut outcome);
    let claimer = Claimer {
        entries,
        consumer,
        now_ms: seen_ms,
        min_idle_ms: options.min_idle_ms,
        delivered_ms,
        deliveries: options.deliveries,
        just_id: options.just_id,
    };
    let array = ctx.reply.defer();
    let mut len = 0;
    for &id in &options.ids {
        len += usize::from(claimer.claim(group, id, options.force, ctx.reply, &mut outcome));
    }
    ctx.reply.finish_array(array, len);
    // What is claimed carries the last id along.
    outcome.advanced &= outcome.claimed.is_empty();
    ctx.effects.suppress();
    outcome.add_to(&mut ctx.effects, [key, name, consumer_name], group);
    note(ctx, key, &outcome);
    Ok(())
}

/// Notes what changed, so that the effects enter the log.
pub fn note(ctx: &mut Context<'_>, key: &[u8], outcome: &Outcome) {
    if outcome.created {
        ctx.db
            .changed_beside(class::STREAM, "xgroup-createconsumer", key);
    }
    let others = outcome.claimed.len() + outcome.forgotten.len() + usize::from(outcome.advanced);
    ctx.db.recorder.dirty += others as u64;
}

/// One consumer claiming entries of one stream.
pub struct Claimer<'a> {
    /// The stream's entries.
    pub entries: &'a Entries,
    /// Who claims.
    pub consumer: ConsumerId,
    /// The time, Unix milliseconds.
    pub now_ms: i64,
    /// Entries delivered more recently are left alone.
    pub min_idle_ms: i64,
    /// When the entries count as delivered.
    pub delivered_ms: i64,
    /// How often they count as delivered; None: once more.
    pub deliveries: Option<u64>,
    /// Only ids are replied, and this is no delivery.
    pub just_id: bool,
}

impl Claimer<'_> {
    /// Claims an entry and writes it, if there is one to claim; one that is
    /// not in the stream any more is forgotten. `force`: nobody needs to have
    /// it.
    pub fn claim(
        &self,
        group: &mut Group,
        id: StreamId,
        force: bool,
        reply: &mut ReplyBuffer,
        outcome: &mut Outcome,
    ) -> bool {
        let known = group.pending(id);
        let Some(entry) = self.entries.get(id) else {
            if group.acknowledge(id).is_some() {
                outcome.forgotten.push(id);
            }
            return false;
        };
        let idle_ms = known.map(|known| self.now_ms.saturating_sub(known.delivered_ms));
        if (known.is_none() && !force)
            || (self.min_idle_ms > 0 && idle_ms.is_some_and(|idle_ms| idle_ms < self.min_idle_ms))
        {
            return false;
        }
        // One that nobody had counts as delivered already.
        let before = known.map_or(1, |known| known.deliveries);
        let claimed = Pending {
            delivered_ms: self.delivered_ms,
            deliveries: self
                .deliveries
                .unwrap_or_else(|| before.saturating_add(u64::from(!self.just_id))),
            consumer: self.consumer,
        };
        group.assign(id, claimed);
        group.consumer_mut(self.consumer).active_ms = Some(self.now_ms);
        outcome.claimed.push((id, claimed));
        match self.just_id {
            true => reply_id(reply, id),
            false => reply_entry(reply, entry),
        }
        true
    }
}
