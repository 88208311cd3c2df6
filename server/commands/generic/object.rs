//! OBJECT: how a value is held.

use std::sync::atomic::Ordering;

use super::access::untouched;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::entry::{Entry, frequency};
use crate::state::Server;

/// Mask of the eviction clock.
const CLOCK: i64 = 0xff_ffff;

/// OBJECT subcommand
pub const COMMAND: Command = Command {
    name: "object",
    group: Group::Generic,
    since: "2.2.3",
    summary: "Tells how values are held.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    run: |_, args| {
        let word = String::from_utf8_lossy(args[1]).into_owned();
        let text = format!("unknown subcommand '{word}'. Try OBJECT HELP.");
        Err(CommandError::err(text))
    },
    ..Command::BASE
};

const SUBCOMMAND: Command = Command {
    group: Group::Generic,
    since: "2.2.3",
    arity: 3,
    flags: flag::READONLY,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(2, &["RO"])],
    args: &[Arg::key("key")],
    ..Command::BASE
};

/// OBJECT ENCODING key
pub const ENCODING: Command = Command {
    name: "object|encoding",
    summary: "Names the encoding of a value.",
    run: encoding,
    ..SUBCOMMAND
};

/// OBJECT FREQ key
pub const FREQ: Command = Command {
    name: "object|freq",
    since: "4.0.0",
    summary: "Tells how often a key was used, on a logarithmic scale.",
    run: freq,
    ..SUBCOMMAND
};

/// OBJECT HELP
pub const HELP: Command = Command {
    name: "object|help",
    since: "6.2.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    keys: &[],
    locks: crate::commands::command::Locks::None,
    args: &[],
    run: help,
    ..SUBCOMMAND
};

/// OBJECT IDLETIME key
pub const IDLETIME: Command = Command {
    name: "object|idletime",
    summary: "Tells for how many seconds a key was not used.",
    run: idletime,
    ..SUBCOMMAND
};

/// OBJECT REFCOUNT key
pub const REFCOUNT: Command = Command {
    name: "object|refcount",
    summary: "Counts the references to a value; here it is always one.",
    run: refcount,
    ..SUBCOMMAND
};

/// Whether keys' use is counted (LFU) rather than timed (LRU).
pub fn is_lfu(server: &Server) -> bool {
    server.settings.counts_uses.load(Ordering::Relaxed)
}

/// Reads a key's entry: a hit or a miss is counted, and no `keymiss` told.
fn looked_at<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    read: impl FnOnce(&Entry) -> R,
) -> Result<Option<R>, CommandError> {
    let found = ctx.uncounted(|ctx| untouched(ctx, key, read))?;
    let recorder = &mut ctx.db.recorder;
    match found {
        Some(_) => recorder.hits += 1,
        None => recorder.misses += 1,
    }
    Ok(found)
}

fn encoding(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    match looked_at(ctx, args[2], |entry| entry.encoding())? {
        None => ctx.reply.null(),
        Some(name) => ctx.reply.bulk(name.as_bytes()),
    }
    Ok(())
}

fn refcount(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    match looked_at(ctx, args[2], |_| ())? {
        None => ctx.reply.null(),
        Some(()) => ctx.reply.integer(1),
    }
    Ok(())
}

fn freq(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let Some(access) = looked_at(ctx, args[2], |entry| entry.access())? else {
        ctx.reply.null();
        return Ok(());
    };
    if !is_lfu(ctx.server) {
        return Err(CommandError::err(
            "An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data \
             will take some time to adjust.",
        ));
    }
    let now_ms = ctx.now_ms();
    ctx.reply
        .integer(i64::from(frequency::decayed(access, now_ms)));
    Ok(())
}

fn idletime(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let Some(access) = looked_at(ctx, args[2], |entry| entry.access())? else {
        ctx.reply.null();
        return Ok(());
    };
    if is_lfu(ctx.server) {
        return Err(CommandError::err(
            "An LFU maxmemory policy is selected, idle time not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data \
             will take some time to adjust.",
        ));
    }
    let now_s = ctx.now_ms() / 1000;
    ctx.reply.integer((now_s - i64::from(access)) & CLOCK);
    Ok(())
}

fn help(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    const LINES: [&str; 11] = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Name the encoding in which the value is held.",
        "FREQ <key>",
        "    Tell how often the key was used, if a policy of the LFU kind is set.",
        "IDLETIME <key>",
        "    Tell how many seconds ago the key was used, unless one of them is set.",
        "REFCOUNT <key>",
        "    Count the references to the value.",
        "HELP",
        "    Print this help.",
    ];
    ctx.reply.array(LINES.len());
    LINES.iter().for_each(|line| ctx.reply.simple(line));
    Ok(())
}
