//! ACL LOG: what was refused lately.

use super::{ADMIN, too_many};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::state::unix_ms;

/// ACL LOG [count | RESET]
pub const COMMAND: Command = Command {
    name: "acl|log",
    summary: "Shows what was refused lately, or forgets it.",
    complexity: "O(N) with N being the number of entries shown.",
    arity: -2,
    args: &[Arg::one_of(
        "operation",
        &[Arg::integer("count"), Arg::word("reset", "RESET")],
    )
    .optional()],
    run,
    ..ADMIN
};

/// Entries shown unless another number is asked for.
const SHOWN: usize = 10;

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let count = match &args[2..] {
        [] => SHOWN,
        [word] if is(word, "RESET") => {
            ctx.server.acl.log.clear();
            ctx.reply.ok();
            return Ok(());
        }
        [count] => usize::try_from(integer(count)?).unwrap_or(0),
        _ => return Err(too_many(args)),
    };
    let now_ms = unix_ms();
    let entries = ctx.server.acl.log.newest(count);
    let reply = &mut *ctx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        reply.bulk(b"reason");
        reply.bulk(entry.reason.word().as_bytes());
        reply.bulk(b"context");
        reply.bulk(entry.place.word().as_bytes());
        reply.bulk(b"object");
        reply.bulk(&entry.object);
        reply.bulk(b"username");
        reply.bulk(&entry.user);
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(&entry.client);
        reply.bulk(b"entry-id");
        reply.integer(entry.id as i64);
        reply.bulk(b"timestamp-created");
        reply.integer(entry.created_ms);
        reply.bulk(b"timestamp-last-updated");
        reply.integer(entry.updated_ms);
    }
    Ok(())
}
