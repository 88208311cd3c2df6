//! XINFO: what a stream, its groups and their consumers are like.

use super::{no_group_of_key, reply_entry, reply_id, subcommand_syntax, xinfo_full};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command, Group as Family, KeySpec, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::server::help;
use crate::keyspace::stream::{Entries, Group, Stream, StreamEntry, StreamId};
use crate::resp::reply::ReplyBuffer;

/// XINFO subcommand
pub const COMMAND: Command = Command {
    name: "xinfo",
    group: Family::Stream,
    since: "5.0.0",
    summary: "Tells about streams, groups and consumers.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[&CONSUMERS, &GROUPS, &HELP, &STREAM],
    run: |_, args| Err(subcommand_syntax("XINFO", args[1])),
    ..Command::BASE
};

const BASE: Command = Command {
    group: Family::Stream,
    since: "5.0.0",
    flags: flag::READONLY,
    acl: acl::STREAM,
    keys: &[KeySpec::one(2, &["RO", "access"])],
    ..Command::BASE
};

const CONSUMERS: Command = Command {
    name: "xinfo|consumers",
    summary: "Lists the consumers of a group.",
    arity: 4,
    args: &[Arg::key("key"), Arg::string("group")],
    run: consumers,
    ..BASE
};

const GROUPS: Command = Command {
    name: "xinfo|groups",
    summary: "Lists the consumer groups of a stream.",
    arity: 3,
    args: &[Arg::key("key")],
    run: groups,
    ..BASE
};

const STREAM: Command = Command {
    name: "xinfo|stream",
    summary: "Tells about a stream.",
    arity: -3,
    args: &[
        Arg::key("key"),
        Arg::block(
            "full-block",
            &[
                Arg::word("full", "FULL"),
                Arg::integer("count").after("COUNT").optional(),
            ],
        )
        .optional(),
    ],
    run: stream,
    ..BASE
};

const HELP: Command = Command {
    name: "xinfo|help",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    keys: &[],
    locks: Locks::None,
    run: |ctx, _| {
        help::reply(
            ctx,
            "XINFO",
            &[
                "CONSUMERS <key> <groupname>",
                "    List the consumers of a group.",
                "GROUPS <key>",
                "    List the consumer groups of a stream.",
                "STREAM <key> [FULL [COUNT <count>]]",
                "    Tell about a stream.",
            ],
        )
    },
    ..BASE
};

/// XINFO CONSUMERS key group
fn consumers(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let now_ms = ctx.now_ms();
    let stream = ctx.db.stream(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups.get(args[3]);
    let group = group.ok_or_else(|| no_group_of_key(args[2], args[3]))?;
    let reply = &mut *ctx.reply;
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        reply.bulk(b"pending");
        reply.integer(consumer.pending_len() as i64);
        reply.bulk(b"idle");
        reply.integer(now_ms.saturating_sub(consumer.seen_ms).max(0));
        reply.bulk(b"inactive");
        let inactive_ms = consumer.active_ms.map(|ms| now_ms.saturating_sub(ms));
        reply.integer(inactive_ms.unwrap_or(-1));
    }
    Ok(())
}

/// XINFO GROUPS key
fn groups(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let stream = ctx.db.stream(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let reply = &mut *ctx.reply;
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.integer(group.consumers().len() as i64);
        reply.bulk(b"pending");
        reply.integer(group.pending_len() as i64);
        reply_progress(reply, &stream.entries, group);
    }
    Ok(())
}

/// How far a group has read: three pairs.
pub fn reply_progress(reply: &mut ReplyBuffer, entries: &Entries, group: &Group) {
    let number_or_null = |reply: &mut ReplyBuffer, number: Option<i64>| match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    };
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id);
    reply.bulk(b"entries-read");
    number_or_null(reply, group.entries_read);
    reply.bulk(b"lag");
    number_or_null(reply, entries.lag(group));
}

/// XINFO STREAM key [FULL [COUNT count]]
fn stream(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let stream = ctx.db.stream(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let count = match &args[3..] {
        [] => None,
        [full] if is(full, "full") => Some(10),
        [full, word, count] if is(full, "full") && is(word, "count") => match integer(count)? {
            ..0 => Some(10),
            count => Some(count),
        },
        _ => return Err(subcommand_syntax("XINFO", args[1])),
    };
    match count {
        None => brief(stream, ctx.reply),
        Some(count) => xinfo_full::reply(stream, super::any_if_zero(count), ctx.reply),
    }
    Ok(())
}

fn brief(stream: &Stream, reply: &mut ReplyBuffer) {
    reply.map(10);
    reply_figures(reply, &stream.entries);
    reply.bulk(b"groups");
    reply.integer(stream.groups.len() as i64);
    let entry_or_null = |reply: &mut ReplyBuffer, entry: Option<StreamEntry<'_>>| match entry {
        Some(entry) => reply_entry(reply, entry),
        None => reply.null(),
    };
    let (min, max) = (StreamId::MIN, StreamId::MAX);
    reply.bulk(b"first-entry");
    entry_or_null(reply, stream.entries.range(min, max).next());
    reply.bulk(b"last-entry");
    entry_or_null(reply, stream.entries.range_reverse(min, max).next());
}

/// Figures of the entries: seven pairs.
pub fn reply_figures(reply: &mut ReplyBuffer, entries: &Entries) {
    let number = |reply: &mut ReplyBuffer, name: &str, number: u64| {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    };
    let id = |reply: &mut ReplyBuffer, name: &str, id: StreamId| {
        reply.bulk(name.as_bytes());
        reply_id(reply, id);
    };
    let nodes = entries.node_count() as u64;
    number(reply, "length", entries.len());
    number(reply, "radix-tree-keys", nodes);
    number(reply, "radix-tree-nodes", nodes + 1);
    id(reply, "last-generated-id", entries.last_id());
    id(reply, "max-deleted-entry-id", entries.max_deleted_id());
    number(reply, "entries-added", entries.added());
    id(reply, "recorded-first-entry-id", entries.first_id());
}
