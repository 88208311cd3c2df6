//! XADD: appends an entry.

use smallvec::SmallVec;

use super::ids::NewId;
use super::options::{TRIM_ARGS, ZERO, parse};
use super::reply_id;
use crate::commands::command::{Arg, Begin, Command, Find, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::limits::LISTPACK_MAX_BYTES;
use crate::keyspace::recorder::class;
use crate::keyspace::stream::{Exactness, StreamId};

/// XADD key [NOMKSTREAM] [trimming] <* | id> field value [field value …]
pub const COMMAND: Command = Command {
    name: "xadd",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Appends an entry to a stream, making the key if there is none.",
    complexity: "O(1) to append, O(N) to trim N entries.",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec {
        flags: &["RW", "update"],
        begin: Begin::Index(1),
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        notes: "UPDATE instead of INSERT because of the optional trimming feature",
    }],
    args: &[
        Arg::key("key"),
        Arg::word("nomkstream", "NOMKSTREAM")
            .optional()
            .since("6.2.0"),
        Arg::block("trim", TRIM_ARGS).optional(),
        Arg::one_of(
            "id-selector",
            &[Arg::word("auto-id", "*"), Arg::string("id")],
        ),
        Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    run,
    ..Command::BASE
};

/// The id of the next entry, or why there is none.
fn next_id(wanted: NewId, last: StreamId, now_ms: i64) -> Result<StreamId, CommandError> {
    if last == StreamId::MAX {
        return Err(CommandError::err(
            "The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let now = StreamId {
        ms: u64::try_from(now_ms).unwrap_or(0),
        seq: 0,
    };
    let id = match wanted {
        NewId::Auto if now.ms > last.ms => Some(now),
        NewId::Auto => last.next(),
        NewId::Within(ms) if ms == last.ms => last.next().filter(|id| id.ms == ms),
        NewId::Within(ms) => Some(StreamId { ms, seq: 0 }),
        NewId::Exactly(id) => Some(id),
    };
    id.filter(|&id| id > last).ok_or_else(|| {
        CommandError::err(
            "The ID specified in XADD is equal or smaller than the target stream top item",
        )
    })
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args, true, ctx.session.replaying)?;
    let (key, fields) = (args[1], args.get(options.id_at + 1..).unwrap_or(&[]));
    if fields.is_empty() || fields.len() % 2 == 1 {
        return Err(CommandError::Arity("xadd".to_string()));
    }
    if options.id == ZERO {
        return Err(CommandError::err(
            "The ID specified in XADD must be greater than 0-0",
        ));
    }
    if fields.iter().map(|field| field.len()).sum::<usize>() > LISTPACK_MAX_BYTES {
        return Err(CommandError::err("Elements are too large to be stored"));
    }
    let now_ms = ctx.now_ms();
    let stream = if options.no_make {
        let Some(stream) = ctx.db.stream_mut(key)? else {
            ctx.reply.null();
            return Ok(());
        };
        stream
    } else {
        ctx.db.stream_or_new(key)?
    };
    let entries = &mut stream.entries;
    let id = next_id(options.id, entries.last_id(), now_ms)?;
    entries.push(id, fields);
    let trimming = options.trimming;
    let trimmed = trimming.map_or(0, |t| entries.trim(t.trim, t.exactness));
    let len = entries.len();
    reply_id(ctx.reply, id);
    ctx.db.changed(class::STREAM, "xadd", key);
    if trimmed > 0 {
        ctx.db.event(class::STREAM, "xtrim", key);
    }
    let approximate = trimming.is_some_and(|t| t.exactness != Exactness::Exact);
    if approximate || !matches!(options.id, NewId::Exactly(_)) {
        add_effect(ctx, key, id, fields, (trimmed > 0).then_some(len));
    }
    Ok(())
}

/// The command with the id that was given and the length that came out, if
/// something was trimmed.
fn add_effect(ctx: &mut Context<'_>, key: &[u8], id: StreamId, fields: &[&[u8]], len: Option<u64>) {
    let id = id.text();
    let mut digits = itoa::Buffer::new();
    let mut effect: SmallVec<[&[u8]; 32]> = SmallVec::new();
    effect.extend([&b"XADD"[..], key]);
    if let Some(len) = len {
        effect.extend([&b"MAXLEN"[..], b"=", digits.format(len).as_bytes()]);
    }
    effect.push(&id);
    effect.extend_from_slice(fields);
    ctx.effects.add(&effect);
}
