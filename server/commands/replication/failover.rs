//! FAILOVER: hands over to a replica without losing a write.

use std::sync::Arc;

use redoubt_cluster::replication::peer::Stage;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::replication::Target;
use crate::replication::replicas::Replica;
use crate::runtime::replication::failover::{self, Request};

/// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]
pub const COMMAND: Command = Command {
    name: "failover",
    group: Group::Server,
    since: "6.2.0",
    summary: "Hands over to a replica.",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
    locks: Locks::None,
    args: &[
        Arg::block(
            "target",
            &[
                Arg::string("host"),
                Arg::integer("port"),
                Arg::word("force", "FORCE").optional(),
            ],
        )
        .after("TO")
        .optional(),
        Arg::word("abort", "ABORT").optional(),
        Arg::integer("milliseconds").after("TIMEOUT").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if ctx.server.cluster.is_some() {
        return Err(CommandError::err(
            "FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
        ));
    }
    fail_over(ctx, args)
}

fn fail_over(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let server = ctx.server;
    let replication = &server.replication;
    let (mut to, mut force, mut abort, mut timeout_ms) = (None, false, false, None);
    let mut at = 1;
    while at < args.len() {
        let left = args.len() - at - 1;
        match args[at].to_ascii_lowercase().as_slice() {
            b"to" if left >= 2 && to.is_none() => {
                to = Some((args[at + 1], args::integer(args[at + 2])?));
                at += 3;
                continue;
            }
            b"timeout" if left >= 1 && timeout_ms.is_none() => {
                let ms = args::integer(args[at + 1])?;
                let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
                let text = "FAILOVER timeout must be greater than 0";
                timeout_ms = Some(ms.ok_or_else(|| CommandError::err(text))?);
                at += 2;
                continue;
            }
            b"force" => force = true,
            b"abort" if args.len() == 2 => abort = true,
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    if abort {
        if !failover::abort(server) {
            return Err(CommandError::err("No failover in progress."));
        }
        ctx.reply.ok();
        return Ok(());
    }
    if replication.failover.is_under_way() {
        return Err(CommandError::err("FAILOVER already in progress."));
    }
    if replication.is_replica() {
        return Err(CommandError::err(
            "FAILOVER is not valid when server is a replica.",
        ));
    }
    if force && (to.is_none() || timeout_ms.is_none()) {
        return Err(CommandError::err(
            "FAILOVER with force option requires both a timeout and target HOST and IP.",
        ));
    }
    let all = replication.replicas.all();
    if all.is_empty() {
        return Err(CommandError::err("FAILOVER requires connected replicas."));
    }
    let to = to
        .map(|(host, port)| online(&all, host, port))
        .transpose()?;
    let until_ms = timeout_ms.map(|ms| replication.now_ms() + ms);
    let request = Request {
        to,
        force,
        until_ms,
    };
    failover::begin(server, request);
    ctx.reply.ok();
    Ok(())
}

/// The replica of that address and port, if it is online.
fn online(all: &[Arc<Replica>], host: &[u8], port: i64) -> Result<Target, CommandError> {
    let found = all.iter().find(|replica| {
        let listening_port = replica.peer.lock().listening_port;
        replica.ip().as_bytes() == host && i64::from(listening_port) == port
    });
    let replica = found
        .ok_or_else(|| CommandError::err("FAILOVER target HOST and PORT is not a replica."))?;
    let host = replica.ip();
    let peer = replica.peer.lock();
    match peer.stage {
        Stage::Online => Ok(Target {
            host,
            port: peer.listening_port,
        }),
        _ => Err(CommandError::err("FAILOVER target replica is not online.")),
    }
}
