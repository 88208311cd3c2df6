//! CLUSTER's subcommands about atomic slot migration. What the nodes say to
//! each other is in `redoubt_cluster::slot_migration`.

use redoubt_cluster::bus::MoveRefusal;
use redoubt_cluster::flags::Flags;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slot_migration::{Message, Plan, Side};
use redoubt_cluster::slot_set::SlotSet;
use redoubt_cluster::slots::Slot;

use super::{BASE, ORDER, cluster_of, slots::slot, text};
use crate::cluster::migration::Stop;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;
use crate::runtime::migration::export;
use crate::state::random_id;

/// CLUSTER MIGRATESLOTS SLOTSRANGE first last [first last …] NODE id
/// [SLOTSRANGE … NODE id …]
pub const MIGRATESLOTS: Command = Command {
    name: "cluster|migrateslots",
    since: "9.0.0",
    summary: "Moves slots with their keys to other nodes, each at one blow.",
    complexity: "O(N) where N is the number of slots.",
    arity: -4,
    flags: ORDER,
    args: &[Arg::block(
        "migration-group",
        &[
            Arg::word("slotsrange-token", "SLOTSRANGE"),
            Arg::block(
                "range",
                &[Arg::integer("start-slot"), Arg::integer("end-slot")],
            )
            .multiple(),
            Arg::word("node-token", "NODE"),
            Arg::string("node-id"),
        ],
    )
    .multiple()],
    run: migrate,
    ..BASE
};

/// Slots and the node that they are to go to.
struct Group<'a> {
    slots: SlotSet,
    node: std::borrow::Cow<'a, str>,
}

fn parse<'a>(mut words: &[&'a [u8]]) -> Result<Vec<Group<'a>>, CommandError> {
    let mut groups = Vec::new();
    while let Some((word, rest)) = words.split_first() {
        if !is(word, "SLOTSRANGE") {
            return Err(CommandError::Syntax);
        }
        let (ranges, rest) = ranges(rest)?;
        let [word, node, rest @ ..] = rest else {
            return Err(CommandError::Syntax);
        };
        if !is(word, "NODE") {
            return Err(CommandError::Syntax);
        }
        let numbers = ranges.iter().flat_map(|(first, last)| *first..=*last);
        groups.push(Group {
            slots: numbers.filter_map(Slot::new).collect(),
            node: text(node),
        });
        words = rest;
    }
    Ok(groups)
}

/// First and last slots, and the words behind them.
type Ranges<'w, 'a> = (Vec<(u16, u16)>, &'w [&'a [u8]]);

/// The ranges that words begin with.
fn ranges<'w, 'a>(mut words: &'w [&'a [u8]]) -> Result<Ranges<'w, 'a>, CommandError> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    while let Some((first, rest)) = words.split_first()
        && args::integer(first).is_ok()
    {
        let first = slot(first)?.number();
        let Some((last, rest)) = rest.split_first() else {
            return Err(CommandError::err("No end slot for final slot range"));
        };
        let last = slot(last)?.number();
        if first > last {
            return Err(CommandError::err(format!(
                "Start slot number {first} is greater than end slot number {last}."
            )));
        }
        let before = ranges.iter().find(|(a, b)| first <= *b && *a <= last);
        if let Some((a, b)) = before {
            return Err(CommandError::err(format!(
                "Slot range {first}-{last} overlaps with previous range {a}-{b}."
            )));
        }
        ranges.push((first, last));
        words = rest;
    }
    match ranges.is_empty() {
        true => Err(CommandError::err("No slot ranges specified")),
        false => Ok((ranges, words)),
    }
}

fn migrate(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    if !cluster.read(|bus| bus.me().is(Flags::PRIMARY)) {
        return Err(CommandError::err(MoveRefusal::NotPrimary));
    }
    let groups = parse(&args[2..])?;
    let active = cluster.migrations.active();
    let mut plans: Vec<Plan> = Vec::new();
    for group in groups {
        let checked = cluster.read(|bus| {
            let target = bus.move_target(&group.node)?;
            bus.may_export(&group.slots).map(|()| (bus.me().id, target))
        });
        let (source, target) = checked.map_err(CommandError::err)?;
        let taken = |slot: &Slot| active.iter().any(|job| job.plan.slots.contains(*slot));
        if let Some(slot) = group.slots.iter().find(taken) {
            return Err(already(slot));
        }
        let twice = |plan: &Plan| plan.slots.iter().any(|slot| group.slots.contains(slot));
        if plans.iter().any(twice) {
            return Err(CommandError::err("Slot ranges in migrations overlap"));
        }
        plans.push(Plan {
            name: new_name(),
            source,
            target,
            slots: group.slots,
        });
    }
    let kept = kept(ctx);
    for plan in plans {
        let job = cluster.migrations.begin(plan, Side::Export, kept);
        let job = job.map_err(already)?;
        if let Err(error) = export::start(ctx.server, job.clone()) {
            cluster.migrations.forget(&job);
            return Err(CommandError::err(error));
        }
    }
    ctx.reply.ok();
    Ok(())
}

fn already(slot: Slot) -> CommandError {
    CommandError::err(format!("I am already migrating slot {}.", slot.number()))
}

fn new_name() -> NodeId {
    NodeId::parse(random_id().as_bytes()).unwrap_or_else(|| unreachable!("40 hexadecimal digits"))
}

/// How many finished migrations are remembered.
fn kept(ctx: &Context<'_>) -> usize {
    let directive = id("cluster-slot-migration-log-max-len");
    let kept = ctx.server.config.read().integer(directive);
    usize::try_from(kept).unwrap_or(0)
}

/// CLUSTER GETSLOTMIGRATIONS
pub const GETSLOTMIGRATIONS: Command = Command {
    name: "cluster|getslotmigrations",
    since: "9.0.0",
    summary: "Lists the slot migrations under way, and those that ended lately.",
    complexity: "O(N), where N is the number of migrations.",
    arity: 2,
    flags: ORDER,
    run: |ctx, _| {
        cluster_of(ctx)?.migrations.describe(ctx.reply);
        Ok(())
    },
    ..BASE
};

/// CLUSTER CANCELSLOTMIGRATIONS
pub const CANCELSLOTMIGRATIONS: Command = Command {
    name: "cluster|cancelslotmigrations",
    since: "9.0.0",
    summary: "Ends the slot migrations under way; the slots stay here.",
    complexity: "O(N), where N is the number of migrations.",
    arity: 2,
    flags: ORDER,
    run: |ctx, _| {
        if cluster_of(ctx)?.migrations.cancel() == 0 {
            return Err(CommandError::err("No migrations ongoing"));
        }
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// CLUSTER SYNCSLOTS …
pub const SYNCSLOTS: Command = Command {
    name: "cluster|syncslots",
    since: "9.0.0",
    summary: "What nodes say to each other when slots move (internal).",
    complexity: "Depends on what is said.",
    arity: -3,
    flags: ORDER,
    run: sync_slots,
    ..BASE
};

fn sync_slots(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    if ctx.session.replaying {
        // What our primary is told by the source of an import.
        match (Message::parse(&args[2..]), &args[2..]) {
            (Some(Message::Establish { name, slots, .. }), _) => {
                cluster.migrations.follow(name, slots);
            }
            (None, [word, words @ ..]) if is(word, "FINISH") => {
                let mut pairs = words.chunks_exact(2);
                let name = pairs.find(|pair| is(pair[0], "NAME"));
                if let Some(name) = name.and_then(|pair| NodeId::parse(pair[1])) {
                    cluster.migrations.follow_no_more(&name);
                }
            }
            _ => {}
        }
        ctx.reply.ok();
        return Ok(());
    }
    let (source, name, slots) = match Message::parse(&args[2..]) {
        Some(Message::Establish {
            source,
            name,
            slots,
        }) => (source, name, slots),
        Some(_) => {
            let word = text(args[2]).to_uppercase();
            return Err(CommandError::err(format!(
                "CLUSTER SYNCSLOTS {word} should only be used by slot migration clients"
            )));
        }
        None => return Err(CommandError::Syntax),
    };
    let plan = cluster.read(|bus| {
        bus.may_import(&source, &slots).map(|()| Plan {
            name,
            source,
            target: bus.me().id,
            slots,
        })
    });
    let plan = plan.map_err(CommandError::err)?;
    let same = |job: &std::sync::Arc<crate::cluster::migration::Job>| {
        job.side == Side::Import && job.plan.source == plan.source && job.plan.slots == plan.slots
    };
    if let Some(job) = cluster.migrations.active().iter().find(|job| same(job)) {
        // Its source has begun again, so it has given that one up.
        job.stop(Stop::Failed("The source began another migration".into()));
    }
    let job = cluster.migrations.begin(plan, Side::Import, kept(ctx));
    let job = job.map_err(|slot| {
        CommandError::err(format!("I am already importing slot {}.", slot.number()))
    })?;
    ctx.session.slot_import = Some(job);
    ctx.session.close_after_reply = true;
    Ok(())
}
