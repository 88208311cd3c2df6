//! CLUSTER INFO, NODES, SLOTS, SHARDS and the like: what only reads.

use super::{BASE, cluster_of, text};
use crate::cluster::describe;
use crate::commands::command::{Arg, Command, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// The flags of what can always be read.
const ALWAYS: u32 = flag::LOADING | flag::STALE;

/// CLUSTER INFO
pub const INFO: Command = Command {
    name: "cluster|info",
    summary: "Tells how the cluster fares.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let cluster = cluster_of(ctx)?;
        let info = cluster.read(|bus| describe::info(cluster, bus));
        ctx.reply.verbatim("txt", info.as_bytes());
        Ok(())
    },
    ..BASE
};

/// CLUSTER NODES
pub const NODES: Command = Command {
    name: "cluster|nodes",
    summary: "Lists all nodes as this one sees them.",
    complexity: "O(N) where N is the number of nodes.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let v6 = ctx.session.client.is_v6();
        let nodes = cluster_of(ctx)?.read(|bus| describe::nodes(bus, v6));
        ctx.reply.verbatim("txt", nodes.as_bytes());
        Ok(())
    },
    ..BASE
};

/// CLUSTER SLOTS
pub const SLOTS: Command = Command {
    name: "cluster|slots",
    summary: "Tells which nodes serve which slots.",
    complexity: "O(N) where N is the number of nodes.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let v6 = ctx.session.client.is_v6();
        let cluster = cluster_of(ctx)?;
        cluster.read(|bus| describe::slots(cluster, bus, v6, ctx.reply));
        Ok(())
    },
    ..BASE
};

/// CLUSTER SHARDS
pub const SHARDS: Command = Command {
    name: "cluster|shards",
    since: "7.0.0",
    summary: "Lists all shards with their slots and nodes.",
    complexity: "O(N) where N is the number of nodes.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let v6 = ctx.session.client.is_v6();
        let cluster = cluster_of(ctx)?;
        cluster.read(|bus| describe::shards(cluster, bus, v6, ctx.reply));
        Ok(())
    },
    ..BASE
};

/// CLUSTER MYID
pub const MYID: Command = Command {
    name: "cluster|myid",
    summary: "Tells the name of this node.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let id = cluster_of(ctx)?.read(|bus| bus.me().id);
        ctx.reply.bulk(id.as_bytes());
        Ok(())
    },
    ..BASE
};

/// CLUSTER MYSHARDID
pub const MYSHARDID: Command = Command {
    name: "cluster|myshardid",
    since: "7.2.0",
    summary: "Tells the name of this node's shard.",
    arity: 2,
    flags: ALWAYS,
    run: |ctx, _| {
        let shard = cluster_of(ctx)?.read(|bus| bus.me().shard);
        ctx.reply.bulk(shard.as_bytes());
        Ok(())
    },
    ..BASE
};

/// CLUSTER LINKS
pub const LINKS: Command = Command {
    name: "cluster|links",
    since: "7.0.0",
    summary: "Lists the connections to and from other nodes.",
    complexity: "O(N) where N is the number of nodes.",
    arity: 2,
    flags: flag::STALE,
    run: |ctx, _| {
        let cluster = cluster_of(ctx)?;
        cluster.read(|bus| describe::links(cluster, bus, ctx.reply));
        Ok(())
    },
    ..BASE
};

/// CLUSTER REPLICAS node-id
pub const REPLICAS: Command = Command {
    name: "cluster|replicas",
    since: "5.0.0",
    summary: "Lists the replicas of a node.",
    complexity: "O(N) where N is the number of replicas.",
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    args: &[Arg::string("node-id")],
    run: replicas,
    ..BASE
};

/// CLUSTER SLAVES node-id
pub const SLAVES: Command = Command {
    name: "cluster|slaves",
    since: "3.0.0",
    ..REPLICAS
};

fn replicas(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let v6 = ctx.session.client.is_v6();
    let cluster = cluster_of(ctx)?;
    cluster.read(|bus| {
        let keys = bus.replicas_of(&text(args[2])).map_err(CommandError::err)?;
        describe::replicas(bus, &keys, v6, ctx.reply);
        Ok(())
    })
}
