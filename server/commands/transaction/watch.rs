//! WATCH: EXEC fails if one of the keys changes before it.

use std::sync::atomic::Ordering;

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::conclusion::break_watches;
use crate::connection::memory::listed_bytes;
use crate::connection::starting;

/// WATCH key [key …]
pub const COMMAND: Command = Command {
    name: "watch",
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Makes EXEC fail if one of the keys is changed before it.",
    complexity: "O(1) for every key.",
    arity: -2,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::ALLOW_BUSY
        | flag::NO_MULTI,
    acl: acl::TRANSACTION,
    keys: &[KeySpec::range(1, -1, 1, &["RO"])],
    args: &[Arg::key("key").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::err("WATCH inside MULTI is not allowed"));
    }
    if starting::is_on(ctx.server) {
        // The key is yet to come to what it was.
        let broken = &ctx.session.client.watch_broken;
        broken.store(true, Ordering::Release);
        ctx.reply.ok();
        return Ok(());
    }
    let db = ctx.session.db;
    // A key that has expired already must not break the watch: it is removed
    // now, and who watched it before is told first.
    for key in &args[1..] {
        ctx.db.exists(key)?;
    }
    break_watches(ctx.server, &ctx.db.recorder);
    ctx.db.recorder.told_watches = ctx.db.recorder.changes.len();
    for key in &args[1..] {
        if ctx.session.watched.insert((db, key.to_vec())) {
            ctx.server.watches.add(db, key, &ctx.session.client);
            let held = &ctx.session.client.held;
            held.watched.fetch_add(listed_bytes(key), Ordering::Relaxed);
        }
    }
    let count = ctx.session.watched.len() as u32;
    ctx.session.client.watched.store(count, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
