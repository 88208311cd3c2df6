//! CLIENT ID, CLIENT INFO, CLIENT LIST: who is connected.

use super::client::{ADMIN, BASE, QUICK};
use super::filter::{FILTER_ARGS, Filter};
use crate::commands::command::Command;
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::listing::describe;
use crate::state::unix_ms;

/// CLIENT ID
pub const ID: Command = Command {
    name: "client|id",
    since: "5.0.0",
    summary: "Tells this connection's id.",
    arity: 2,
    run: |ctx, _| {
        ctx.reply.integer(ctx.session.client.id as i64);
        Ok(())
    },
    ..QUICK
};

/// CLIENT INFO
pub const INFO: Command = Command {
    name: "client|info",
    since: "6.2.0",
    summary: "Describes this connection.",
    arity: 2,
    run: |ctx, _| {
        let mut text = Vec::new();
        describe(&ctx.session.client, unix_ms(), &mut text);
        text.push(b'\n');
        ctx.reply.verbatim("txt", &text);
        Ok(())
    },
    ..BASE
};

/// CLIENT LIST [filter …]
pub const LIST: Command = Command {
    name: "client|list",
    summary: "Lists the connections.",
    complexity: "O(N) where N is the number of connections",
    arity: -2,
    args: FILTER_ARGS,
    run: list,
    ..ADMIN
};

fn list(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let filter = Filter::parse(&args[2..], ctx.server, false)?;
    let now_ms = unix_ms();
    let mut text = Vec::new();
    for client in ctx.server.clients.all() {
        if filter.fits(&client, ctx.session.client.id, now_ms) {
            describe(&client, now_ms, &mut text);
            text.push(b'\n');
        }
    }
    ctx.reply.verbatim("txt", &text);
    Ok(())
}
