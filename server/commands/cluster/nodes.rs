//! CLUSTER's subcommands about nodes: who belongs to the cluster, who
//! replicates whom, epochs.

use redoubt_cluster::bus::{Failover, Refusal};
use redoubt_cluster::identity::Epoch;
use redoubt_cluster::replication::history::History;

use super::{BASE, ORDER, cluster_of, ok, text};
use crate::cluster::keys;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// CLUSTER MEET ip port [bus-port]
pub const MEET: Command = Command {
    name: "cluster|meet",
    summary: "Gets to know a node.",
    arity: -4,
    flags: ORDER,
    args: &[
        Arg::string("ip"),
        Arg::integer("port"),
        Arg::integer("cluster-bus-port").optional().since("4.0.0"),
    ],
    run: meet,
    ..BASE
};

fn meet(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    if args.len() > 5 {
        return Err(ill_formed(args));
    }
    let number = |arg: &[u8], what: &str| {
        let bad = || CommandError::err(format!("Invalid {what} port specified: {}", text(arg)));
        args::integer(arg).map_err(|_| bad())
    };
    let port = number(args[3], "base")?;
    let bus_port = match args.get(4) {
        Some(arg) => number(arg, "bus")?,
        None => port.saturating_add(10_000),
    };
    let ip = text(args[2]);
    let valid = |port: i64, what: &str| match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(CommandError::err(format!("{what} number is out of range"))),
    };
    let port = valid(port, "Port")?;
    let bus_port = valid(bus_port, "Cluster bus port")?;
    let outcome = cluster.order(|bus| bus.meet(&ip, port, bus_port));
    ok(ctx, outcome)
}

/// CLUSTER FORGET node-id
pub const FORGET: Command = Command {
    name: "cluster|forget",
    summary: "Takes a node out of the table.",
    arity: 3,
    flags: ORDER,
    args: &[Arg::string("node-id")],
    run: |ctx, args| {
        let outcome = cluster_of(ctx)?.order(|bus| bus.forget(&text(args[2])));
        ok(ctx, outcome)
    },
    ..BASE
};

/// CLUSTER REPLICATE (node-id | NO ONE)
pub const REPLICATE: Command = Command {
    name: "cluster|replicate",
    summary: "Makes this node a replica, or a primary again.",
    arity: -3,
    flags: ORDER,
    args: &[Arg::string("node-id")],
    run: replicate,
    ..BASE
};

/// As [`ok`], for an order that changes the role or deletes keys on another
/// thread: the reply leaves once that has happened, and the client's next command
/// comes after it. Those of the same transaction don't: it holds all locks.
fn ok_then(ctx: &mut Context<'_>, outcome: Result<(), Refusal>) -> CommandResult {
    ok(ctx, outcome)?;
    let outcome = cluster_of(ctx)?.outcome();
    ctx.session.await_outcome(outcome, None);
    Ok(())
}

/// The error for words too many.
fn ill_formed(args: &[&[u8]]) -> CommandError {
    let name = text(args[1]);
    CommandError::err(format!(
        "unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
    ))
}

fn replicate(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    let outcome = match args[2..] {
        [no, one] if is(no, "NO") && is(one, "ONE") => {
            cluster.order(|bus| bus.replicate_no_one());
            Ok(())
        }
        [id] => {
            let has_keys = keys::any(ctx.server);
            cluster.order(|bus| bus.replicate(&text(id), has_keys))
        }
        _ => return Err(ill_formed(args)),
    };
    ok_then(ctx, outcome)
}

/// CLUSTER FAILOVER [FORCE | TAKEOVER]
pub const FAILOVER: Command = Command {
    name: "cluster|failover",
    summary: "Lets this replica take over its primary's slots.",
    arity: -2,
    flags: ORDER,
    args: &[Arg::one_of(
        "options",
        &[
            Arg::word("force", "FORCE"),
            Arg::word("takeover", "TAKEOVER"),
        ],
    )
    .optional()],
    run: |ctx, args| {
        let cluster = cluster_of(ctx)?;
        let how = match args[2..] {
            [] => Failover::Default,
            [word] if is(word, "FORCE") => Failover::Force,
            [word] if is(word, "TAKEOVER") => Failover::Takeover,
            _ => return Err(CommandError::Syntax),
        };
        let outcome = cluster.order(|bus| bus.fail_over(how));
        ok_then(ctx, outcome)
    },
    ..BASE
};

/// CLUSTER RESET [HARD | SOFT]
pub const RESET: Command = Command {
    name: "cluster|reset",
    summary: "Forgets all other nodes and slots.",
    complexity: "O(N) where N is the number of known nodes.",
    arity: -2,
    flags: flag::ADMIN | flag::STALE | flag::NOSCRIPT,
    args: &[Arg::one_of(
        "reset-type",
        &[Arg::word("hard", "HARD"), Arg::word("soft", "SOFT")],
    )
    .optional()],
    run: |ctx, args| {
        let cluster = cluster_of(ctx)?;
        let hard = match args[2..] {
            [] => false,
            [word] if is(word, "SOFT") => false,
            [word] if is(word, "HARD") => true,
            [_] => return Err(CommandError::Syntax),
            _ => return Err(ill_formed(args)),
        };
        let has_keys = keys::any(ctx.server);
        let outcome = cluster.order(|bus| bus.reset(hard, has_keys));
        ok_then(ctx, outcome)?;
        // States of slots that came with the stream are gone: to have them again
        // it takes a full sync.
        let anew = ctx.server.replication.change_identity(|identity| {
            identity.history = History::new(crate::replication::new_id());
        });
        anew.map_err(|error| CommandError::Storage(error.to_string()))
    },
    ..BASE
};

/// CLUSTER BUMPEPOCH
pub const BUMPEPOCH: Command = Command {
    name: "cluster|bumpepoch",
    summary: "Draws a new config epoch.",
    arity: 2,
    flags: ORDER,
    run: |ctx, _| {
        let (bumped, epoch) = cluster_of(ctx)?.order(|bus| bus.bump());
        let word = if bumped { "BUMPED" } else { "STILL" };
        ctx.reply.simple(&format!("{word} {epoch}"));
        Ok(())
    },
    ..BASE
};

/// CLUSTER SET-CONFIG-EPOCH epoch
pub const SET_CONFIG_EPOCH: Command = Command {
    name: "cluster|set-config-epoch",
    summary: "Gives a fresh node its config epoch.",
    arity: 3,
    flags: ORDER,
    args: &[Arg::integer("config-epoch")],
    run: |ctx, args| {
        let cluster = cluster_of(ctx)?;
        let number = args::integer(args[2])?;
        let epoch = u64::try_from(number)
            .map_err(|_| CommandError::err(format!("Invalid config epoch specified: {number}")))?;
        let outcome = cluster.order(|bus| bus.set_config_epoch(Epoch(epoch)));
        ok(ctx, outcome)
    },
    ..BASE
};

/// CLUSTER SAVECONFIG
pub const SAVECONFIG: Command = Command {
    name: "cluster|saveconfig",
    summary: "Writes the nodes' file.",
    arity: 2,
    flags: ORDER,
    run: |ctx, _| {
        cluster_of(ctx)?.order(|bus| bus.save_config());
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// CLUSTER COUNT-FAILURE-REPORTS node-id
pub const COUNT_FAILURE_REPORTS: Command = Command {
    name: "cluster|count-failure-reports",
    summary: "Counts the primaries that report a node as failing.",
    complexity: "O(N) where N is the number of reports.",
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    args: &[Arg::string("node-id")],
    run: |ctx, args| {
        let cluster = cluster_of(ctx)?;
        let count = cluster.order(|bus| bus.count_failure_reports(&text(args[2])));
        ctx.reply.integer(count.map_err(CommandError::err)? as i64);
        Ok(())
    },
    ..BASE
};
