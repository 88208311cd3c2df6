//! XGROUP: makes, sets and removes consumer groups and their consumers.

use super::{ids, no_group_of_key, subcommand_syntax};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command, Group as Family, KeySpec, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::server::help;
use crate::keyspace::recorder::{GROUP_DESTROYED, class};
use crate::keyspace::stream::{Group, StreamId};

/// XGROUP subcommand
pub const COMMAND: Command = Command {
    name: "xgroup",
    group: Family::Stream,
    since: "5.0.0",
    summary: "Makes, sets and removes consumer groups and consumers.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        &CREATE,
        &CREATECONSUMER,
        &DELCONSUMER,
        &DESTROY,
        &HELP,
        &SETID,
    ],
    run: |_, args| Err(subcommand_syntax("XGROUP", args[1])),
    ..Command::BASE
};

const BASE: Command = Command {
    group: Family::Stream,
    since: "5.0.0",
    flags: flag::WRITE,
    acl: acl::STREAM,
    ..Command::BASE
};

/// `id | $`
const ID: Arg = Arg::one_of(
    "id-selector",
    &[Arg::string("id"), Arg::word("new-id", "$")],
);

const CREATE: Command = Command {
    name: "xgroup|create",
    summary: "Makes a consumer group.",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[KeySpec::one(2, &["RW", "insert"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        ID,
        Arg::word("mkstream", "MKSTREAM").optional(),
        Arg::integer("entriesread").after("ENTRIESREAD").optional(),
    ],
    run: create,
    ..BASE
};

const CREATECONSUMER: Command = Command {
    name: "xgroup|createconsumer",
    since: "6.2.0",
    summary: "Makes a consumer of a group.",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[KeySpec::one(2, &["RW", "insert"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
    ],
    run: create_consumer,
    ..BASE
};

const DELCONSUMER: Command = Command {
    name: "xgroup|delconsumer",
    summary: "Removes a consumer with what it has not acknowledged.",
    arity: 5,
    keys: &[KeySpec::one(2, &["RW", "delete"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
    ],
    run: delete_consumer,
    ..BASE
};

const DESTROY: Command = Command {
    name: "xgroup|destroy",
    summary: "Removes a consumer group.",
    complexity: "O(N) for N entries not acknowledged.",
    arity: 4,
    keys: &[KeySpec::one(2, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::string("group")],
    run: destroy,
    ..BASE
};

const SETID: Command = Command {
    name: "xgroup|setid",
    summary: "Sets the id up to which a group has read.",
    arity: -5,
    keys: &[KeySpec::one(2, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        ID,
        Arg::integer("entriesread").after("ENTRIESREAD").optional(),
    ],
    run: set_id,
    ..BASE
};

const HELP: Command = Command {
    name: "xgroup|help",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    locks: Locks::None,
    run: |ctx, _| {
        help::reply(
            ctx,
            "XGROUP",
            &[
                "CREATE <key> <groupname> <id|$> [option]",
                "    Make a consumer group that begins behind an id, with these options:",
                "    * MKSTREAM",
                "      Make an empty stream if there is no such key.",
                "    * ENTRIESREAD entries_read",
                "      How many entries count as read (for servers among themselves).",
                "CREATECONSUMER <key> <groupname> <consumer>",
                "    Make a consumer of a group.",
                "DELCONSUMER <key> <groupname> <consumer>",
                "    Remove a consumer with what it has not acknowledged.",
                "DESTROY <key> <groupname>",
                "    Remove a group.",
                "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
                "    Set the id up to which a group has read, and how many entries that is.",
            ],
        )
    },
    ..BASE
};

#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

fn parse(args: &[&[u8]], creates: bool) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut words = args[5..].iter();
    while let Some(word) = words.next() {
        match words.as_slice().first() {
            _ if creates && is(word, "mkstream") => options.make_stream = true,
            Some(number) if is(word, "entriesread") => {
                options.entries_read = match integer(number)? {
                    -1 => None,
                    read @ 0.. => Some(read),
                    _ => {
                        return Err(CommandError::err(
                            "value for ENTRIESREAD must be positive or -1",
                        ));
                    }
                };
                words.next();
            }
            _ => return Err(subcommand_syntax("XGROUP", args[1])),
        }
    }
    Ok(options)
}

fn no_key() -> CommandError {
    CommandError::err(
        "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
         use the MKSTREAM option to create an empty stream automatically.",
    )
}

/// XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]
fn create(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, name, id) = (args[2], args[3], args[4]);
    let options = parse(args, true)?;
    let (exists, taken) = ctx.uncounted(|ctx| {
        ctx.db.stream(key).map(|found| match found {
            None => (false, false),
            Some(stream) => (true, stream.groups.contains_key(name)),
        })
    })?;
    if !exists && !options.make_stream {
        return Err(no_key());
    }
    if args.len() > 8 {
        return Err(subcommand_syntax("XGROUP", args[1]));
    }
    let given = match id {
        b"$" => None,
        id => Some(ids::strict(id)?),
    };
    if taken {
        return Err(CommandError::text(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let stream = ctx.db.stream_or_new(key)?;
    let last_id = given.unwrap_or(stream.entries.last_id());
    let group = Group::new(last_id, options.entries_read);
    stream.groups.insert(name.into(), group);
    match exists {
        true => ctx.db.changed_beside(class::STREAM, "xgroup-create", key),
        false => ctx.db.changed(class::STREAM, "xgroup-create", key),
    }
    ctx.reply.ok();
    Ok(())
}

/// The group that a subcommand needs.
fn with_group<R>(
    ctx: &mut Context<'_>,
    args: &[&[u8]],
    change: impl FnOnce(&mut Group, StreamId) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    let (key, name) = (args[2], args[3]);
    let stream = ctx.db.stream_mut(key)?.ok_or_else(no_key)?;
    let last_id = stream.entries.last_id();
    match stream.groups.get_mut(name) {
        Some(group) => change(group, last_id),
        None => Err(no_group_of_key(key, name)),
    }
}

/// XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]
fn set_id(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args, false)?;
    with_group(ctx, args, |group, last_id| {
        let id = match args[4] {
            b"$" => last_id,
            id => ids::any(id)?,
        };
        (group.last_id, group.entries_read) = (id, options.entries_read);
        Ok(())
    })?;
    ctx.db
        .changed_beside(class::STREAM, "xgroup-setid", args[2]);
    ctx.reply.ok();
    Ok(())
}

/// XGROUP DESTROY key group
fn destroy(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let stream = ctx.db.stream_mut(args[2])?.ok_or_else(no_key)?;
    let removed = stream.groups.remove(args[3]).is_some();
    if removed {
        ctx.db
            .changed_beside(class::STREAM, GROUP_DESTROYED, args[2]);
    }
    ctx.reply.integer(i64::from(removed));
    Ok(())
}

/// XGROUP CREATECONSUMER key group consumer
fn create_consumer(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let now_ms = ctx.now_ms();
    let made = with_group(ctx, args, |group, _| {
        Ok(group.add_consumer(args[4], now_ms).is_some())
    })?;
    if made {
        ctx.db
            .changed_beside(class::STREAM, "xgroup-createconsumer", args[2]);
    }
    ctx.reply.integer(i64::from(made));
    Ok(())
}

/// XGROUP DELCONSUMER key group consumer
fn delete_consumer(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let pending = with_group(ctx, args, |group, _| Ok(group.delete_consumer(args[4])))?;
    if pending.is_some() {
        ctx.db
            .changed_beside(class::STREAM, "xgroup-delconsumer", args[2]);
    }
    ctx.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}
