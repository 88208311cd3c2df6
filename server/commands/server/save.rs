//! SAVE, BGSAVE, LASTSAVE: snapshot files. BGREWRITEAOF: the log has no file
//! to be rewritten, so what it asks for, a short log, is had by a checkpoint.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::runtime::save;
use crate::saves::InProgress;
use crate::state::{Server, Storage};

const BASE: Command = Command {
    group: Group::Server,
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NOSCRIPT,
    locks: Locks::None,
    ..Command::BASE
};

/// SAVE
pub const SAVE: Command = Command {
    name: "save",
    summary: "Writes a snapshot file before it replies.",
    complexity: "O(N) where N is the number of keys.",
    arity: 1,
    flags: BASE.flags | flag::NO_MULTI,
    run: |ctx, _| {
        ctx.hand_over_counts();
        ctx.server.saves.begin().map_err(in_progress)?;
        save::save(ctx.server).map_err(CommandError::err)?;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// BGSAVE [SCHEDULE | CANCEL]
pub const BGSAVE: Command = Command {
    name: "bgsave",
    summary: "Writes a snapshot file in the background.",
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
    summary: "Lets the tree take over the log in the background, which is then trimmed.",
    arity: 1,
    run: |ctx, _| {
        let server = ctx.server;
        let (runs, asked) = &server.saves.rewrites;
        runs.fetch_add(1, Ordering::Relaxed);
        if let Some(storage) = server.storage() {
            asked.store(storage.checkpoints.request(), Ordering::Relaxed);
        }
        ctx.reply
            .simple("Background append only file rewriting started");
        Ok(())
    },
    ..BASE
};

/// LASTSAVE
pub const LASTSAVE: Command = Command {
    name: "lastsave",
    summary: "Tells when the last snapshot ended, in Unix seconds.",
    arity: 1,
    flags: flag::FAST | flag::LOADING | flag::STALE,
    acl: acl::ADMIN | acl::DANGEROUS,
    run: |ctx, _| {
        ctx.reply.integer(save::last_save_s(ctx.server));
        Ok(())
    },
    ..BASE
};

fn in_progress(_: InProgress) -> CommandError {
    CommandError::err("Background save already in progress")
}

fn bgsave(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    ctx.hand_over_counts();
    match args {
        [_] => {}
        [_, word] if args::is(word, "schedule") => {}
        [_, word] if args::is(word, "cancel") => {
            if !ctx.server.saves.cancel() {
                return Err(CommandError::err(
                    "Background saving is currently not in progress or scheduled",
                ));
            }
            ctx.reply.simple("Background saving cancelled");
            return Ok(());
        }
        _ => return Err(CommandError::Syntax),
    }
    ctx.server.saves.request().map_err(in_progress)?;
    ctx.reply.simple("Background saving started");
    Ok(())
}

/// Whether what BGREWRITEAOF started is under way.
pub fn is_rewriting(server: &Server) -> bool {
    let asked = server.saves.rewrites.1.load(Ordering::Relaxed);
    let made = |storage: &Storage| storage.checkpoints.wait_made(asked, Duration::ZERO);
    let begins = server.begins_to_keep.load(Ordering::Relaxed);
    begins || asked != 0 && !server.storage().is_none_or(made)
}
