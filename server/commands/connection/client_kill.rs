//! CLIENT KILL: closes connections.

use super::client::ADMIN;
use super::filter::{FILTER_ARGS, Filter};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::parting::close;
use crate::state::unix_ms;

/// CLIENT KILL address | filter …
pub const COMMAND: Command = Command {
    name: "client|kill",
    summary: "Closes connections.",
    complexity: "O(N) where N is the number of connections",
    arity: -3,
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::string("old-format"),
            Arg::block("new-format", FILTER_ARGS).multiple(),
        ],
    )],
    run,
    ..ADMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if let [_, _, address] = args {
        // The old form: the one connection with this address, itself too.
        let clients = ctx.server.clients.all();
        let found = clients.iter().find(|c| c.address.as_bytes() == *address);
        let client = found.ok_or_else(|| CommandError::err("No such client"))?;
        close(ctx.session, std::slice::from_ref(client));
        ctx.reply.ok();
        return Ok(());
    }
    let filter = Filter::parse(&args[2..], ctx.server, true)?;
    let now_ms = unix_ms();
    let mut found = ctx.server.clients.all();
    found.retain(|client| filter.fits(client, ctx.session.client.id, now_ms));
    close(ctx.session, &found);
    ctx.reply.integer(found.len() as i64);
    Ok(())
}
