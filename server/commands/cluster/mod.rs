//! The cluster: CLUSTER and its subcommands, what clients say about
//! redirections, and MIGRATE.

mod migrate;
pub mod migrate_links;
mod migration;
mod nodes;
mod routing;
mod scan;
mod setslot;
mod show;
mod slot_stats;
mod slots;

use super::command::{Command, Group, Locks, flag};
use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::server::help;
use crate::cluster::Cluster;
use redoubt_cluster::bus::Refusal;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &CLUSTER,
    &routing::ASKING,
    &routing::READONLY,
    &routing::READWRITE,
    &migrate::COMMAND,
    &scan::COMMAND,
];

/// CLUSTER subcommand
const CLUSTER: Command = Command {
    name: "cluster",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Handles the cluster.",
    complexity: "Depends on subcommand.",
    arity: -2,
    locks: Locks::None,
    subcommands: &[
        &slots::ADDSLOTS,
        &slots::ADDSLOTSRANGE,
        &nodes::BUMPEPOCH,
        &migration::CANCELSLOTMIGRATIONS,
        &nodes::COUNT_FAILURE_REPORTS,
        &slots::COUNTKEYSINSLOT,
        &slots::DELSLOTS,
        &slots::DELSLOTSRANGE,
        &nodes::FAILOVER,
        &slots::FLUSHSLOT,
        &slots::FLUSHSLOTS,
        &nodes::FORGET,
        &slots::GETKEYSINSLOT,
        &migration::GETSLOTMIGRATIONS,
        &HELP,
        &show::INFO,
        &slots::KEYSLOT,
        &show::LINKS,
        &nodes::MEET,
        &migration::MIGRATESLOTS,
        &show::MYID,
        &show::MYSHARDID,
        &show::NODES,
        &show::REPLICAS,
        &nodes::REPLICATE,
        &nodes::RESET,
        &nodes::SAVECONFIG,
        &nodes::SET_CONFIG_EPOCH,
        &setslot::SETSLOT,
        &show::SHARDS,
        &show::SLAVES,
        &slot_stats::SLOT_STATS,
        &show::SLOTS,
        &migration::SYNCSLOTS,
    ],
    ..Command::BASE
};

/// What the subcommands have in common.
const BASE: Command = Command {
    group: Group::Cluster,
    since: "3.0.0",
    locks: Locks::None,
    ..Command::BASE
};

/// The flags of those that change something.
const ORDER: u32 = flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING;

/// The node of a cluster that this server is.
pub(in crate::commands) fn cluster_of(ctx: &Context<'_>) -> Result<&'static Cluster, CommandError> {
    let cluster = ctx.server.cluster.as_ref();
    cluster.ok_or_else(|| CommandError::err("This instance has cluster support disabled"))
}

/// Answers OK unless the order was refused.
fn ok(ctx: &mut Context<'_>, outcome: Result<(), Refusal>) -> CommandResult {
    outcome.map_err(CommandError::err)?;
    ctx.reply.ok();
    Ok(())
}

fn text(arg: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(arg)
}

/// CLUSTER HELP
const HELP: Command = Command {
    name: "cluster|help",
    since: "5.0.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        cluster_of(ctx)?;
        help::reply(ctx, "CLUSTER", HELP_LINES)
    },
    ..BASE
};

const HELP_LINES: &[&str] = &[
    "ADDSLOTS <slot> [<slot> ...]",
    "    This node serves these slots from now on.",
    "ADDSLOTSRANGE <first> <last> [<first> <last> ...]",
    "    The same for whole ranges.",
    "BUMPEPOCH",
    "    Draw a new config epoch.",
    "CANCELSLOTMIGRATIONS",
    "    End the slot migrations under way.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    How many primaries report a node as failing.",
    "COUNTKEYSINSLOT <slot>",
    "    How many keys a slot has here.",
    "DELSLOTS <slot> [<slot> ...]",
    "    Nobody serves these slots any more, as far as this node knows.",
    "DELSLOTSRANGE <first> <last> [<first> <last> ...]",
    "    The same for whole ranges.",
    "FAILOVER [FORCE|TAKEOVER]",
    "    This replica takes over its primary's slots.",
    "FLUSHSLOT <slot> [ASYNC|SYNC]",
    "    Delete a slot's keys.",
    "FLUSHSLOTS",
    "    This node serves no slots any more.",
    "FORGET <node-id>",
    "    Take a node out of the table.",
    "GETKEYSINSLOT <slot> <count>",
    "    Up to so many keys of a slot.",
    "GETSLOTMIGRATIONS",
    "    The slot migrations under way, and those that ended lately.",
    "INFO",
    "    How the cluster fares.",
    "KEYSLOT <key>",
    "    The slot of a key.",
    "LINKS",
    "    The connections to and from other nodes.",
    "MEET <ip> <port> [<bus-port>]",
    "    Get to know a node.",
    "MIGRATESLOTS SLOTSRANGE <first> <last> [<first> <last> ...] NODE <node-id> [SLOTSRANGE ...]",
    "    Move slots with their keys to other nodes.",
    "MYID",
    "    The name of this node.",
    "MYSHARDID",
    "    The name of its shard.",
    "NODES",
    "    All nodes, a line each:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <primary> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    The replicas of a node.",
    "REPLICATE (<node-id>|NO ONE)",
    "    This node becomes a replica, or a primary again.",
    "RESET [HARD|SOFT]",
    "    Forget all other nodes and slots; HARD: and who this node is.",
    "SAVECONFIG",
    "    Write the nodes' file.",
    "SET-CONFIG-EPOCH <epoch>",
    "    Give a fresh node its config epoch.",
    "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>) [TIMEOUT <ms>]",
    "    Say how a slot stands, to the replicas first; wait so long for them.",
    "SHARDS",
    "    All shards with their slots and nodes.",
    "SLOT-STATS",
    "    What slots hold and, with cluster-slot-stats-enabled, what they cost.",
    "SLOTS",
    "    Which nodes serve which slots.",
];
