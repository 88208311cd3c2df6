//! LATENCY: what took long, and how long commands take.

use std::sync::atomic::Ordering;

use super::help;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::table;
use crate::latency::Event;
use crate::state::unix_ms;

const BASE: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    arity: 2,
    flags: flag::ADMIN | flag::LOADING | flag::NOSCRIPT | flag::STALE,
    locks: Locks::None,
    ..Command::BASE
};

/// LATENCY
pub const COMMAND: Command = Command {
    name: "latency",
    summary: "Tells what took long.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    subcommands: &[
        &DOCTOR, &GRAPH, &HELP, &HISTOGRAM, &HISTORY, &LATEST, &RESET,
    ],
    ..BASE
};

const LATEST: Command = Command {
    name: "latency|latest",
    summary: "Shows the latest sample of each event.",
    run: |ctx, _| {
        let events = ctx.server.stats.latency.all();
        ctx.reply.array(events.len());
        for (name, event) in events {
            let (at_s, took_ms) = event.samples.last().copied().unwrap_or_default();
            ctx.reply.array(6);
            ctx.reply.bulk(name.as_bytes());
            ctx.reply.integer(at_s);
            ctx.reply.integer(took_ms as i64);
            ctx.reply.integer(event.worst_ms as i64);
            ctx.reply.integer(event.sum_ms as i64);
            ctx.reply.integer(event.count as i64);
        }
        Ok(())
    },
    ..BASE
};

const HISTORY: Command = Command {
    name: "latency|history",
    summary: "Shows the samples of an event.",
    arity: 3,
    args: &[Arg::string("event")],
    run: |ctx, args| {
        let event = event_of(ctx, args[2]).unwrap_or_default();
        ctx.reply.array(event.samples.len());
        for (at_s, took_ms) in event.samples {
            ctx.reply.array(2);
            ctx.reply.integer(at_s);
            ctx.reply.integer(took_ms as i64);
        }
        Ok(())
    },
    ..BASE
};

const RESET: Command = Command {
    name: "latency|reset",
    summary: "Forgets the samples of some events, or all.",
    arity: -2,
    args: &[Arg::string("event").optional().multiple()],
    run: |ctx, args| {
        let monitor = &ctx.server.stats.latency;
        let names = args[2..].iter().map(|name| String::from_utf8_lossy(name));
        let forgotten: usize = match args.len() {
            2 => monitor.reset(None),
            _ => names.map(|name| monitor.reset(Some(&name))).sum(),
        };
        ctx.reply.integer(forgotten as i64);
        Ok(())
    },
    ..BASE
};

const GRAPH: Command = Command {
    name: "latency|graph",
    summary: "Draws the samples of an event.",
    arity: 3,
    args: &[Arg::string("event")],
    run: graph,
    ..BASE
};

const DOCTOR: Command = Command {
    name: "latency|doctor",
    summary: "Says in words what took long.",
    run: doctor,
    ..BASE
};

const HISTOGRAM: Command = Command {
    name: "latency|histogram",
    since: "7.0.0",
    summary: "Tells how long commands take, as cumulative counts.",
    complexity: "O(N) where N is the number of commands.",
    arity: -2,
    args: &[Arg::string("command").optional().multiple()],
    run: histogram,
    ..BASE
};

const HELP: Command = Command {
    name: "latency|help",
    summary: "Explains the subcommands.",
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "LATENCY",
            &[
                "DOCTOR",
                "    Say in words what took long.",
                "GRAPH <event>",
                "    Draw the samples of an event.",
                "HISTORY <event>",
                "    Show the samples of an event.",
                "LATEST",
                "    Show the latest sample of each event.",
                "RESET [<event> ...]",
                "    Forget the samples of some events, or all.",
                "HISTOGRAM [<command> ...]",
                "    Tell how long some commands take, or all that were called.",
            ],
        )
    },
    ..BASE
};

fn event_of(ctx: &Context<'_>, name: &[u8]) -> Option<Event> {
    ctx.server.stats.latency.get(&String::from_utf8_lossy(name))
}

/// Bars of four heights, with the age of each sample below.
fn graph(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    const SHOWN: usize = 80;
    const HEIGHTS: [char; 4] = ['_', 'o', 'O', '#'];
    let name = String::from_utf8_lossy(args[2]).into_owned();
    let Some(event) = event_of(ctx, args[2]) else {
        return Err(CommandError::err(format!(
            "No samples available for event '{name}'"
        )));
    };
    let from = event.samples.len().saturating_sub(SHOWN);
    let samples = &event.samples[from..];
    let high = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.1).min().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.worst_ms,
        "-".repeat(SHOWN)
    );
    let bars = samples
        .iter()
        .map(|sample| HEIGHTS[((sample.1 - low) * 3 / (high - low).max(1)) as usize]);
    text.extend(bars);
    text.push_str("\n\n");
    let now_s = unix_ms() / 1000;
    let ages: Vec<String> = samples.iter().map(|sample| age(now_s - sample.0)).collect();
    let longest = ages.iter().map(String::len).max().unwrap_or(0);
    for row in 0..longest {
        let column = |age: &String| age.chars().nth(row).unwrap_or(' ');
        text.extend(ages.iter().map(column));
        text.push('\n');
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m", s / 60),
        s if s < 86400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

fn doctor(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let threshold_ms = ctx
        .server
        .settings
        .latency_threshold_ms
        .load(Ordering::Relaxed);
    let events = ctx.server.stats.latency.all();
    let mut text = String::new();
    if threshold_ms == 0 {
        text.push_str(
            "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n",
        );
    } else if events.is_empty() {
        text.push_str("Nothing took longer than the threshold: no latency to speak of.\n");
    } else {
        text.push_str("These events took longer than the threshold:\n\n");
    }
    for (number, (name, event)) in events.iter().enumerate() {
        let average = event.sum_ms / event.count.max(1);
        text.push_str(&format!(
            "{}. {name}: {} latency spikes (average {average}ms). Worst all time event {}ms.\n",
            number + 1,
            event.count,
            event.worst_ms
        ));
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn histogram(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    ctx.hand_over_counts();
    let all = table().all();
    let wanted = |name: &str| {
        args.len() == 2
            || args[2..].iter().any(|arg| {
                let container = name.split('|').next().unwrap_or_default();
                arg.eq_ignore_ascii_case(name.as_bytes())
                    || arg.eq_ignore_ascii_case(container.as_bytes())
            })
    };
    let deferred = ctx.reply.defer();
    let mut shown = 0;
    for (number, command) in all.iter().enumerate() {
        let sets = &ctx.server.stats.sets;
        let calls = sets.calls(number);
        if calls == 0 || !wanted(command.name) {
            continue;
        }
        shown += 1;
        let buckets = sets.latency(number).cumulative();
        ctx.reply.bulk(command.name.as_bytes());
        ctx.reply.map(2);
        ctx.reply.bulk(b"calls");
        ctx.reply.integer(calls as i64);
        ctx.reply.bulk(b"histogram_usec");
        ctx.reply.map(buckets.len());
        for (micros, count) in buckets {
            ctx.reply.integer(micros as i64);
            ctx.reply.integer(count as i64);
        }
    }
    ctx.reply.finish_map(deferred, shown);
    Ok(())
}
