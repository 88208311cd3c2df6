//! ROLE: the server's part in replication.

use redoubt_cluster::replication::link::Phase;
use redoubt_cluster::replication::peer::Stage;

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// ROLE
pub const COMMAND: Command = Command {
    name: "role",
    group: Group::Server,
    since: "2.8.12",
    summary: "Tells the server's part in replication.",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST,
    acl: acl::ADMIN | acl::DANGEROUS,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let replication = &ctx.server.replication;
    let end = ctx.server.log().map_or(0, |log| log.end().0);
    let offset = replication.stream_offset(end) as i64;
    if let Some(target) = replication.target() {
        ctx.reply.array(5);
        ctx.reply.bulk(b"slave");
        ctx.reply.bulk(target.host.as_bytes());
        ctx.reply.integer(i64::from(target.port));
        let state: &[u8] = match replication.link.phase() {
            Phase::Waiting => b"connect",
            Phase::Connecting => b"connecting",
            Phase::HandShake => b"handshake",
            Phase::Syncing => b"sync",
            Phase::Streaming => b"connected",
        };
        ctx.reply.bulk(state);
        let up = replication.link.is_up();
        ctx.reply.integer(if up { offset } else { -1 });
        return Ok(());
    }
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.integer(offset);
    let online: Vec<_> = replication
        .replicas
        .connected()
        .into_iter()
        .filter(|replica| replica.peer.lock().stage == Stage::Online)
        .collect();
    ctx.reply.array(online.len());
    for replica in online {
        let (port, applied) = {
            let peer = replica.peer.lock();
            (peer.listening_port, peer.applied)
        };
        ctx.reply.array(3);
        ctx.reply.bulk(replica.ip().as_bytes());
        ctx.reply.bulk(port.to_string().as_bytes());
        ctx.reply.bulk(applied.to_string().as_bytes());
    }
    Ok(())
}
