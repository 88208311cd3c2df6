//! PUBLISH, SPUBLISH: sends a message to those who listen.

use crate::cluster::slot_stats;
use crate::commands::command::{Arg, Command, Group, KeySpec, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::pubsub::Kind;
use crate::keyspace::recorder::Message;
use crate::state::Server;

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
    let (server, channel, text) = (ctx.server, args[1], args[2]);
    let sharded = kind == Kind::Shard;
    let receivers = if ctx.in_transaction {
        let recorder = &mut ctx.db.recorder;
        recorder.messages.push(Message {
            behind: recorder.changes.len(),
            sharded,
            channel: channel.into(),
            text: text.into(),
        });
        server.pubsub.count_receivers(kind, channel)
    } else {
        send(server, kind, channel, text)
    };
    if sharded && receivers != 0 && server.cluster.is_some() {
        slot_stats::note_delivered(server, channel, text, receivers);
    }
    if server.cluster.is_none() && !server.replication.replicas.is_empty() {
        // It changes no key, but those who listen to a replica are to hear it.
        ctx.db.recorder.dirty += 1;
    }
    ctx.reply.integer(receivers as i64);
    Ok(())
}

/// Sends a message to who listens here, and in a cluster to the other nodes;
/// returns how many got it here.
fn send(server: &Server, kind: Kind, channel: &[u8], text: &[u8]) -> usize {
    let limit = &server.settings.pubsub_output_limit;
    let receivers = server.pubsub.publish(kind, channel, text, limit);
    if let Some(cluster) = &server.cluster {
        let sharded = kind == Kind::Shard;
        cluster.with(|bus, now_ms| bus.publish(now_ms, sharded, channel, text));
    }
    receivers
}

/// Sends what a transaction or script has published.
pub fn send_message(server: &Server, message: &Message) {
    let kind = match message.sharded {
        true => Kind::Shard,
        false => Kind::Channel,
    };
    send(server, kind, &message.channel, &message.text);
}
