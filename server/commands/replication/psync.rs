//! PSYNC, SYNC: a replica asks for the stream. Its connection is handed over
//! to a thread that feeds it.

use redoubt_cluster::replication::history::Position;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::replication::replicas::StreamRequest;
use crate::runtime::replication::switch;

/// PSYNC replicationid offset [FAILOVER]
pub const PSYNC: Command = Command {
    name: "psync",
    group: Group::Server,
    since: "2.8.0",
    summary: "Asks a primary for its stream (internal).",
    complexity: "",
    arity: -3,
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NO_MULTI | flag::NOSCRIPT,
    locks: Locks::None,
    args: &[Arg::string("replicationid"), Arg::integer("offset")],
    run: psync,
    ..Command::BASE
};

/// SYNC
pub const SYNC: Command = Command {
    name: "sync",
    since: "1.0.0",
    summary: "Asks a primary for everything, then its stream (internal).",
    arity: 1,
    args: &[],
    run: |ctx, _| {
        admit(ctx)?;
        hand_over(ctx, false, None);
        Ok(())
    },
    ..PSYNC
};

fn psync(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if let [_, id, _, word] = args {
        take_over(ctx, id, word)?;
    }
    admit(ctx)?;
    let first = args::integer(args[2]).inspect_err(|_| {
        let address = &ctx.session.client.address;
        tracing::warn!("Replica {address} asks for synchronization but with a wrong offset");
    })?;
    hand_over(ctx, true, Position::parse(args[1], first));
    Ok(())
}

/// A primary that fails over asks its replica to take over.
fn take_over(ctx: &mut Context<'_>, id: &[u8], word: &[u8]) -> CommandResult {
    if !args::is(word, "failover") {
        return Err(CommandError::Syntax);
    }
    if ctx.server.cluster.is_some() {
        // Who leads a shard is for the cluster to decide.
        return Err(CommandError::err(
            "PSYNC FAILOVER not allowed in cluster mode.",
        ));
    }
    let replication = &ctx.server.replication;
    if !replication.is_replica() {
        return Err(CommandError::err(
            "PSYNC FAILOVER can't be sent to a master.",
        ));
    }
    if replication.id().as_str().as_bytes() != id {
        return Err(CommandError::err(
            "PSYNC FAILOVER replid must match my replid.",
        ));
    }
    tracing::info!("Failover request received for replid {}", replication.id());
    let switched = switch(ctx.server, None);
    switched.map_err(|error| CommandError::Storage(error.to_string()))?;
    Ok(())
}

/// Who has no stream to give refuses.
fn admit(ctx: &Context<'_>) -> CommandResult {
    let replication = &ctx.server.replication;
    if replication.failover.is_handing_over() {
        return Err(CommandError::text(
            "NOMASTERLINK Can't SYNC while failing over",
        ));
    }
    if replication.is_replica() && !replication.link.is_up() {
        return Err(CommandError::text(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    Ok(())
}

fn hand_over(ctx: &mut Context<'_>, psync: bool, position: Option<Position>) {
    ctx.session.stream_request = Some(StreamRequest { psync, position });
    ctx.session.close_after_reply = true;
}
