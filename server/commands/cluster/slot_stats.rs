//! CLUSTER SLOT-STATS: what the slots of this shard hold and cost.

use redoubt_cluster::slots::{SLOT_COUNT, Slot};

use super::{BASE, cluster_of};
use crate::cluster::Cluster;
use crate::cluster::keys;
use crate::cluster::slot_stats::Figures;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// CLUSTER SLOT-STATS (SLOTSRANGE first last | ORDERBY metric [LIMIT n] [ASC | DESC])
pub const SLOT_STATS: Command = Command {
    name: "cluster|slot-stats",
    since: "8.0.0",
    summary: "Gives figures of this shard's slots.",
    complexity: "O(N) where N is the number of slots; O(N*log(N)) with ORDERBY.",
    arity: -4,
    flags: flag::LOADING | flag::STALE,
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::block(
                "slotsrange",
                &[Arg::integer("start-slot"), Arg::integer("end-slot")],
            )
            .after("SLOTSRANGE"),
            Arg::block(
                "orderby",
                &[
                    Arg::string("metric"),
                    Arg::integer("limit").after("LIMIT").optional(),
                    Arg::one_of(
                        "order",
                        &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")],
                    )
                    .optional(),
                ],
            )
            .after("ORDERBY"),
        ],
    )],
    run,
    ..BASE
};

/// What can be counted of a slot.
#[derive(Clone, Copy)]
enum Metric {
    KeyCount,
    CpuUsec,
    BytesIn,
    BytesOut,
}

/// What ORDERBY asks for.
struct Order {
    metric: Metric,
    limit: usize,
    ascending: bool,
}

/// A slot's row.
struct Row {
    slot: Slot,
    keys: u64,
    figures: Figures,
}

impl Row {
    fn of(&self, metric: Metric) -> u64 {
        match metric {
            Metric::KeyCount => self.keys,
            Metric::CpuUsec => self.figures.cpu_usec,
            Metric::BytesIn => self.figures.bytes_in,
            Metric::BytesOut => self.figures.bytes_out,
        }
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    let counts = cluster.slot_stats.is_on();
    let rows = match (args[2], &args[3..]) {
        (word, [first, last]) if is(word, "SLOTSRANGE") => {
            let (first, last) = (super::slots::slot(first)?, super::slots::slot(last)?);
            if first > last {
                return Err(CommandError::err(format!(
                    "Start slot number {} is greater than end slot number {}",
                    first.number(),
                    last.number()
                )));
            }
            rows(ctx, cluster, |slot| (first..=last).contains(&slot))
        }
        (word, [metric, filters @ ..]) if is(word, "ORDERBY") => {
            let order = order_of(metric, filters, counts)?;
            let mut rows = rows(ctx, cluster, |_| true);
            // Slots of equal figures stay in their order.
            match order.ascending {
                true => rows.sort_by_key(|row| row.of(order.metric)),
                false => rows.sort_by_key(|row| std::cmp::Reverse(row.of(order.metric))),
            }
            rows.truncate(order.limit);
            rows
        }
        _ => {
            return Err(CommandError::err(
                "unknown subcommand or wrong number of arguments for 'slot-stats'. Try CLUSTER HELP.",
            ));
        }
    };
    ctx.reply.array(rows.len());
    rows.iter().for_each(|row| show(ctx, row, counts));
    Ok(())
}

/// The shard's slots that are `wanted`, in their order.
fn rows(ctx: &mut Context<'_>, cluster: &Cluster, wanted: impl Fn(Slot) -> bool) -> Vec<Row> {
    let slots = cluster.read(|bus| {
        let primary = bus.table().get(bus.shard_primary());
        primary.map(|node| node.slots.clone()).unwrap_or_default()
    });
    let slots = slots.iter().filter(|slot| wanted(*slot));
    slots
        .map(|slot| Row {
            slot,
            keys: keys::count_for(ctx, slot) as u64,
            figures: cluster.slot_stats.of(slot),
        })
        .collect()
}

fn show(ctx: &mut Context<'_>, row: &Row, counts: bool) {
    let metrics = [
        ("key-count", Metric::KeyCount),
        ("cpu-usec", Metric::CpuUsec),
        ("network-bytes-in", Metric::BytesIn),
        ("network-bytes-out", Metric::BytesOut),
    ];
    let shown = if counts { &metrics[..] } else { &metrics[..1] };
    ctx.reply.array(2);
    ctx.reply.integer(i64::from(row.slot.number()));
    ctx.reply.map(shown.len());
    for (name, metric) in shown {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.integer(row.of(*metric) as i64);
    }
}

/// ORDERBY's arguments. Without counting there is but the number of keys.
fn order_of(metric: &[u8], filters: &[&[u8]], counts: bool) -> Result<Order, CommandError> {
    let metric = match metric {
        word if is(word, "key-count") => Metric::KeyCount,
        word if counts && is(word, "cpu-usec") => Metric::CpuUsec,
        word if counts && is(word, "network-bytes-in") => Metric::BytesIn,
        word if counts && is(word, "network-bytes-out") => Metric::BytesOut,
        _ => return Err(CommandError::err("Unrecognized sort metric for ORDERBY.")),
    };
    let (mut limit, mut ascending) = (None, None);
    let mut rest = filters.iter();
    while let Some(word) = rest.next() {
        let twice = match rest.as_slice().first() {
            Some(number) if is(word, "LIMIT") => {
                rest.next();
                let text = "Limit has to lie in between 1 and 16384 (maximum number of slots).";
                let number = args::integer_between(number, 1..=SLOT_COUNT as i64, text)?;
                limit.replace(number as usize).is_some()
            }
            _ if is(word, "ASC") => ascending.replace(true).is_some(),
            _ if is(word, "DESC") => ascending.replace(false).is_some(),
            _ => return Err(CommandError::Syntax),
        };
        if twice {
            return Err(CommandError::err(
                "Multiple filters of the same type are disallowed.",
            ));
        }
    }
    Ok(Order {
        metric,
        limit: limit.unwrap_or(SLOT_COUNT),
        ascending: ascending.unwrap_or(false),
    })
}
