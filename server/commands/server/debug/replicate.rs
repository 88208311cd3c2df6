//! DEBUG REPLICATE: a command for the replicas alone, to see what they make of
//! it.

use crate::commands::context::Context;
use crate::commands::effects::encode;
use crate::commands::error::{CommandError, CommandResult};

/// A log that is kept would not be read at the next start, so it must have no
/// such command.
pub fn run(ctx: &mut Context<'_>, words: &[&[u8]]) -> CommandResult {
    let log = ctx.server.own_log();
    let Some(log) = log.filter(|_| ctx.server.storage().is_none()) else {
        return Err(CommandError::err(
            "DEBUG REPLICATE is for a primary with replicas that keeps no data on disk",
        ));
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, words);
    log.append_aside(&bytes);
    log.write_soon();
    ctx.reply.ok();
    Ok(())
}
