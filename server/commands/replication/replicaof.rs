//! REPLICAOF, SLAVEOF: makes the server a replica, or a primary again.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;
use crate::replication::Target;
use crate::runtime::replication::change_role;

/// REPLICAOF host port | NO ONE
pub const REPLICAOF: Command = Command {
    name: "replicaof",
    group: Group::Server,
    since: "5.0.0",
    summary: "Makes the server a replica, or a primary again.",
    arity: 3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING,
    locks: Locks::All,
    args: &[Arg::one_of(
        "args",
        &[
            Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
            Arg::block("no-one", &[Arg::word("no", "NO"), Arg::word("one", "ONE")]),
        ],
    )],
    run,
    ..Command::BASE
};

/// SLAVEOF host port | NO ONE
pub const SLAVEOF: Command = Command {
    name: "slaveof",
    since: "1.0.0",
    ..REPLICAOF
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let server = ctx.server;
    if server.config.read().bool(id("cluster-enabled")) {
        return Err(CommandError::err("REPLICAOF not allowed in cluster mode."));
    }
    if server.replication.failover.is_under_way() {
        return Err(CommandError::err(
            "REPLICAOF not allowed while failing over.",
        ));
    }
    let target = match args::is(args[1], "no") && args::is(args[2], "one") {
        true => None,
        false => Some(target(args[1], args[2])?),
    };
    let follows = target.is_some();
    let failed = |error: std::io::Error| CommandError::Storage(error.to_string());
    let changed = change_role(server, target.clone()).map_err(failed)?;
    match target {
        Some(Target { host, port }) if changed => tracing::info!(
            "REPLICAOF {host}:{port} enabled (user request from '{}')",
            ctx.session.client.address
        ),
        None if changed => tracing::info!(
            "PRIMARY MODE enabled (user request from '{}')",
            ctx.session.client.address
        ),
        _ => {}
    }
    if follows && !changed {
        ctx.reply.simple("OK Already connected to specified master");
    } else {
        ctx.reply.ok();
    }
    Ok(())
}

/// The primary that two arguments name.
pub fn target(host: &[u8], port: &[u8]) -> Result<Target, CommandError> {
    let port = args::integer(port)
        .ok()
        .and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| CommandError::err("Invalid master port"))?;
    let host =
        String::from_utf8(host.to_vec()).map_err(|_| CommandError::err("Invalid master host"))?;
    Ok(Target { host, port })
}
