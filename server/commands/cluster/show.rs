//! CLUSTER INFO, NODES, SLOTS, SHARDS and the like: what only reads.

use super::{BASE, cluster_of, text};
use crate::cluster::{describe, keys};
use crate::commands::args::{self, is};
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

/// CLUSTER SLOT-STATS SLOTSRANGE first last | ORDERBY key-count [LIMIT n] [ASC | DESC]
pub const SLOT_STATS: Command = Command {
    name: "cluster|slot-stats",
    since: "8.0.0",
    summary: "Gives numbers about this node's slots.",
    complexity: "O(N) where N is the number of slots; O(N*log(N)) with ORDERBY.",
    arity: -4,
    flags: ALWAYS,
    run: slot_stats,
    ..BASE
};

fn slot_stats(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    let primary = cluster.read(|bus| {
        let key = bus.shard_primary();
        bus.table().get(key).map(|node| node.slots.clone())
    });
    let mine = primary.unwrap_or_default();
    let counted = |slot| (slot, keys::count(ctx.server, slot));
    let shown: Vec<_> = if is(args[2], "SLOTSRANGE") && args.len() == 5 {
        let (first, last) = (super::slots::slot(args[3])?, super::slots::slot(args[4])?);
        if first > last {
            return Err(CommandError::err(format!(
                "Start slot number {} is greater than end slot number {}",
                first.number(),
                last.number()
            )));
        }
        let within = mine.iter().filter(|slot| (first..=last).contains(slot));
        within.map(counted).collect()
    } else if is(args[2], "ORDERBY") {
        let (limit, ascending) = order_of(&args[3..])?;
        let mut all: Vec<_> = mine.iter().map(counted).collect();
        all.sort_by_key(|(slot, count)| match ascending {
            true => (*count as i64, slot.number()),
            false => (-(*count as i64), slot.number()),
        });
        all.truncate(limit);
        all
    } else {
        return Err(CommandError::Syntax);
    };
    ctx.reply.array(shown.len());
    for (slot, count) in shown {
        ctx.reply.array(2);
        ctx.reply.integer(i64::from(slot.number()));
        ctx.reply.map(1);
        ctx.reply.bulk(b"key-count");
        ctx.reply.integer(count as i64);
    }
    Ok(())
}

/// The limit, and whether the smallest come first.
fn order_of(words: &[&[u8]]) -> Result<(usize, bool), CommandError> {
    let (mut limit, mut ascending) = (redoubt_cluster::slots::SLOT_COUNT, false);
    let [metric, rest @ ..] = words else {
        return Err(CommandError::Syntax);
    };
    if !is(metric, "key-count") {
        return Err(CommandError::err("Unrecognized sort metric for ORDERBY."));
    }
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match rest.as_slice().first() {
            Some(number) if is(word, "LIMIT") => {
                let text = "Limit has to lie in between 1 and 16384 (maximum number of slots).";
                limit = args::integer_between(number, 1..=16384, text)? as usize;
                rest.next();
            }
            _ if is(word, "ASC") => ascending = true,
            _ if is(word, "DESC") => ascending = false,
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok((limit, ascending))
}
