//! PUBLISH, SPUBLISH: sends a message to those who listen.

use crate::cluster::slot_stats;
use crate::commands::command::{Arg, Command, Group, KeySpec, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::pubsub::Kind;

/// PUBLISH channel message
pub const PUBLISH: Command = Command {
    name: "publish",
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Sends a message to those who listen to a channel.",
    complexity: "O(N+M) where N is the number of clients that listen to the channel and M is the number of patterns that any client listens to.",
    arity: 3,
    flags: flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST,
    args: &[Arg::string("channel"), Arg::string("message")],
    run: |ctx, args| publish(ctx, Kind::Channel, args),
    ..Command::BASE
};

/// SPUBLISH shardchannel message
pub const SPUBLISH: Command = Command {
    name: "spublish",
    group: Group::Pubsub,
    since: "7.0.0",
    summary: "Sends a message to those who listen to a shard channel.",
    complexity: "O(N) where N is the number of clients that listen to the shard channel.",
    arity: 3,
    flags: flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST,
    keys: &[KeySpec::one(1, &["not_key"])],
    args: &[Arg::string("shardchannel"), Arg::string("message")],
    run: |ctx, args| publish(ctx, Kind::Shard, args),
    ..Command::BASE
};

fn publish(ctx: &mut Context<'_>, kind: Kind, args: &[&[u8]]) -> CommandResult {
    let limit = &ctx.server.settings.pubsub_output_limit;
    let receivers = ctx.server.pubsub.publish(kind, args[1], args[2], limit);
    if let Some(cluster) = &ctx.server.cluster {
        let sharded = kind == Kind::Shard;
        if sharded && receivers != 0 {
            slot_stats::note_delivered(ctx.server, args[1], args[2], receivers);
        }
        cluster.with(|bus, now_ms| bus.publish(now_ms, sharded, args[1], args[2]));
    } else if !ctx.server.replication.replicas.is_empty() {
        // It changes no key, but those who listen to a replica are to hear it.
        ctx.db.recorder.dirty += 1;
    }
    ctx.reply.integer(receivers as i64);
    Ok(())
}
