//! RESET: makes the connection as good as new.

use std::sync::atomic::Ordering;

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::{pubsub, transaction};
use crate::connection::session::ReplyMode;
use crate::resp::Protocol;

/// RESET
pub const COMMAND: Command = Command {
    name: "reset",
    group: Group::Connection,
    since: "6.2.0",
    summary: "Makes the connection as if it had just been opened.",
    arity: 1,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::NO_AUTH
        | flag::ALLOW_BUSY,
    acl: acl::CONNECTION,
    locks: Locks::None,
    run,
    ..Command::BASE
};

/// What a library said of itself (CLIENT SETINFO) stays.
fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let server = ctx.server;
    let session = &mut *ctx.session;
    let client = session.client.clone();
    transaction::abandon(server, session);
    pubsub::leave_all(server, session);
    session.routing = Default::default();
    client.read_only.store(false, Ordering::Relaxed);
    crate::monitor::leave(server, &client);
    server.tracking.disable(&client);
    server.acl.begin(session);
    if session.reply_mode == ReplyMode::Off {
        session.reply_mode = ReplyMode::On;
    }
    session.db = 0;
    client.db.store(0, Ordering::Relaxed);
    client.protocol.store(2, Ordering::Relaxed);
    client.no_evict.store(false, Ordering::Relaxed);
    client.no_touch.store(false, Ordering::Relaxed);
    client.info.lock().name.clear();
    ctx.reply.protocol = Protocol::Resp2;
    ctx.reply.simple("RESET");
    Ok(())
}
