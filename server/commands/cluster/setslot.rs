//! CLUSTER SETSLOT.

use redoubt_cluster::bus::SlotState;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slot_set::SlotSet;

use super::slots::slot;
use super::{BASE, ORDER, cluster_of, text};
use crate::cluster::slot_order::{self, SETSLOT_ON_REPLICA, SlotOrder};
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::effects::encode;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::replication::replicas::Acks;
use crate::runtime::replication;

/// How long the replicas have unless TIMEOUT says, milliseconds.
const PATIENCE_MS: u64 = 2000;

/// CLUSTER SETSLOT slot (IMPORTING id | MIGRATING id | STABLE | NODE id) [TIMEOUT ms]
pub const SETSLOT: Command = Command {
    name: "cluster|setslot",
    summary: "Says how a slot stands.",
    arity: -4,
    flags: ORDER,
    args: &[
        Arg::integer("slot"),
        Arg::one_of(
            "subcommand",
            &[
                Arg::string("importing").after("IMPORTING"),
                Arg::string("migrating").after("MIGRATING"),
                Arg::string("node").after("NODE"),
                Arg::word("stable", "STABLE"),
            ],
        ),
        Arg::integer("timeout")
            .after("TIMEOUT")
            .optional()
            .since("8.0.0"),
    ],
    run,
    ..BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let server = ctx.server;
    if ctx.session.replaying {
        // From our own log, nodes.conf is ahead of it.
        if ctx.session.following.is_some() {
            mirror(ctx, args);
        }
        ctx.reply.ok();
        return Ok(());
    }
    let cluster = cluster_of(ctx)?;
    if server.replication.is_replica() || cluster.read(|bus| bus.me().primary.is_some()) {
        return Err(CommandError::err(SETSLOT_ON_REPLICA));
    }
    let at = slot(args[2])?;
    let (state, id, rest) = state_of(&args[3..])?;
    let held = ctx.holds_all.then_some(&mut ctx.db);
    slot_order::carry_out(server, held, (at, state, &id), false)?;
    let former = SlotSet::from_iter([at]);
    if state == SlotState::Importing && cluster.migrations.is_deleting(&former) {
        // What comes in now would be deleted with what was there before.
        if ctx.in_transaction {
            let text = "The slot's former keys are still being deleted, try again later";
            return Err(CommandError::err(text));
        }
        ctx.session.postponed = true;
        return Ok(());
    }
    let timeout_ms = timeout_of(rest)?;
    let replicas = server.replication.replicas.taking_slot_orders();
    let mut log_offset = 0;
    if replicas != 0 {
        let mut bytes = Vec::new();
        encode(&mut bytes, args);
        log_offset = slot_order::announce(server, &bytes, ctx.holds_all);
    }
    if replicas == 0 || ctx.in_transaction {
        let held = ctx.holds_all.then_some(&mut ctx.db);
        slot_order::carry_out(server, held, (at, state, &id), true)?;
        ctx.reply.ok();
        return Ok(());
    }
    replication::ask_for_acks(server);
    ctx.block(BlockRequest {
        keys: Vec::new(),
        args: None,
        timeout_ms,
        on_timeout: TimeoutReply::SlotOrder(SlotOrder {
            acks: Acks {
                server,
                log_offset,
                replicas,
                on_disk: None,
            },
            slot: at,
            state,
            node: NodeId::parse(id.as_bytes()),
        }),
    });
    Ok(())
}

/// What the primary says is heeded as far as it makes sense here: an error
/// would end the link.
fn mirror(ctx: &mut Context<'_>, args: &[&[u8]]) {
    if let (Ok(at), Ok((state, id, _))) = (slot(args[2]), state_of(&args[3..])) {
        let held = ctx.holds_all.then_some(&mut ctx.db);
        slot_order::mirror(ctx.server, held, (at, state, &id));
    }
}

type Stated<'a, 'b> = (SlotState, std::borrow::Cow<'a, str>, &'b [&'a [u8]]);

/// The state, the other node's name, and what follows them.
fn state_of<'a, 'b>(words: &'b [&'a [u8]]) -> Result<Stated<'a, 'b>, CommandError> {
    let named = |state, rest: &'b [&'a [u8]]| Ok((state, text(rest[0]), &rest[1..]));
    match words {
        [word, rest @ ..] if is(word, "STABLE") => Ok((SlotState::Stable, "".into(), rest)),
        [word, rest @ ..] if is(word, "MIGRATING") && !rest.is_empty() => {
            named(SlotState::Migrating, rest)
        }
        [word, rest @ ..] if is(word, "IMPORTING") && !rest.is_empty() => {
            named(SlotState::Importing, rest)
        }
        [word, rest @ ..] if is(word, "NODE") && !rest.is_empty() => named(SlotState::Node, rest),
        _ => Err(CommandError::err(
            "Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        )),
    }
}

/// TIMEOUT; other words are passed over.
fn timeout_of(mut words: &[&[u8]]) -> Result<u64, CommandError> {
    let mut timeout_ms = PATIENCE_MS;
    while let [word, rest @ ..] = words {
        words = rest;
        if !is(word, "TIMEOUT") {
            continue;
        }
        let Some(number) = rest.first() else {
            return Err(CommandError::err("Missing timeout value"));
        };
        let number = args::integer(number)
            .map_err(|_| CommandError::err("timeout is not an integer or out of range"))?;
        timeout_ms = u64::try_from(number).map_err(|_| CommandError::err("timeout is negative"))?;
    }
    Ok(timeout_ms)
}
