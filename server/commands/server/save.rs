//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE: the log and the tree keep everything
//! already, so these make the log durable up to now and say so.

use std::sync::atomic::Ordering;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::state::{Server, unix_ms};

const BASE: Command = Command {
    group: Group::Server,
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NOSCRIPT,
    locks: Locks::None,
    ..Command::BASE
};

/// SAVE
pub const SAVE: Command = Command {
    name: "save",
    summary: "Makes everything durable before it replies.",
    complexity: "O(N) where N is the number of bytes not synced yet.",
    arity: 1,
    flags: BASE.flags | flag::NO_MULTI,
    run: |ctx, _| {
        sync(ctx.server)?;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// BGSAVE [SCHEDULE | CANCEL]
pub const BGSAVE: Command = Command {
    name: "bgsave",
    summary: "Makes everything durable.",
    arity: -1,
    args: &[Arg::one_of(
        "operation",
        &[
            Arg::word("schedule", "SCHEDULE").since("3.2.2"),
            Arg::word("cancel", "CANCEL").since("8.1.0"),
        ],
    )
    .optional()],
    run: bgsave,
    ..BASE
};

/// BGREWRITEAOF
pub const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    summary: "Does nothing: the log is trimmed all the time.",
    arity: 1,
    run: |ctx, _| {
        ctx.reply
            .simple("Background append only file rewriting started");
        Ok(())
    },
    ..BASE
};

/// LASTSAVE
pub const LASTSAVE: Command = Command {
    name: "lastsave",
    summary: "Tells when the last save ended, in Unix seconds.",
    arity: 1,
    flags: flag::FAST | flag::LOADING | flag::STALE,
    acl: acl::ADMIN | acl::DANGEROUS,
    run: |ctx, _| {
        ctx.reply.integer(last_save_s(ctx.server));
        Ok(())
    },
    ..BASE
};

fn bgsave(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    match args {
        [_] => {}
        [_, word] if args::is(word, "schedule") => {}
        [_, word] if args::is(word, "cancel") => {
            return Err(CommandError::err(
                "Background saving is currently not in progress or scheduled",
            ));
        }
        _ => return Err(CommandError::Syntax),
    }
    sync(ctx.server)?;
    ctx.reply.simple("Background saving started");
    Ok(())
}

fn sync(server: &Server) -> CommandResult {
    if let Some(log) = server.log() {
        log.sync_to(log.end())
            .map_err(|error| CommandError::Storage(error.to_string()))?;
    }
    server.stats.dirty.store(0, Ordering::Relaxed);
    server.stats.saves.fetch_add(1, Ordering::Relaxed);
    let now_s = (unix_ms() / 1000).max(0) as u64;
    server.stats.last_save_s.store(now_s, Ordering::Relaxed);
    Ok(())
}

/// When the last save ended, or the server started; Unix seconds.
pub fn last_save_s(server: &Server) -> i64 {
    match server.stats.last_save_s.load(Ordering::Relaxed) {
        0 => server.started_ms / 1000,
        at_s => at_s as i64,
    }
}
