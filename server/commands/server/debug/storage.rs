//! DEBUG STORAGE: has the storage under the server fail, for tests.

use std::sync::atomic::Ordering::Relaxed;

use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// DEBUG STORAGE FAIL-SYNCS | FAIL-WRITES | NO-SPACE | PAUSE-TREE | CLEAR
pub fn run(ctx: &mut Context<'_>, what: &[u8]) -> CommandResult {
    let server = ctx.server;
    let Some(storage) = server.storage() else {
        return Err(CommandError::err("persistence is off"));
    };
    let (faults, paused) = (&storage.faults, &server.health.tree_paused);
    match () {
        () if args::is(what, "fail-syncs") => faults.fail_syncs.store(true, Relaxed),
        () if args::is(what, "fail-writes") => faults.fail_writes.store(true, Relaxed),
        () if args::is(what, "no-space") => faults.no_space.store(true, Relaxed),
        () if args::is(what, "pause-tree") => paused.store(true, Relaxed),
        () if args::is(what, "clear") => {
            faults.clear();
            paused.store(false, Relaxed);
        }
        () => return Err(CommandError::Syntax),
    }
    ctx.reply.ok();
    Ok(())
}
