//! MEMORY: what takes how much memory.

use std::sync::atomic::Ordering;

use super::help;
use super::info::resident_bytes;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

const BASE: Command = Command {
    group: Group::Server,
    since: "4.0.0",
    locks: Locks::None,
    arity: 2,
    ..Command::BASE
};

/// MEMORY
pub const COMMAND: Command = Command {
    name: "memory",
    summary: "Tells what takes how much memory.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE],
    ..BASE
};

const USAGE: Command = Command {
    name: "memory|usage",
    summary: "Tells how many bytes a key and its value take.",
    complexity: "O(1)",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(2, &["RO"])],
    locks: Locks::Keys,
    args: &[
        Arg::key("key"),
        Arg::integer("count").after("SAMPLES").optional(),
    ],
    run: usage,
    ..BASE
};

const STATS: Command = Command {
    name: "memory|stats",
    summary: "Shows how memory is used.",
    run: stats,
    ..BASE
};

const DOCTOR: Command = Command {
    name: "memory|doctor",
    summary: "Says whether memory looks healthy.",
    run: doctor,
    ..BASE
};

const MALLOC_STATS: Command = Command {
    name: "memory|malloc-stats",
    summary: "Would show the allocator's own figures.",
    flags: flag::LOADING,
    run: |ctx, _| {
        ctx.reply
            .bulk(b"Stats not supported for the current allocator");
        Ok(())
    },
    ..BASE
};

const PURGE: Command = Command {
    name: "memory|purge",
    summary: "Gives unused memory back to the system.",
    flags: flag::LOADING,
    run: |ctx, _| {
        crate::resident::collect_everywhere();
        crate::memory::trim_c_heap();
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

const HELP: Command = Command {
    name: "memory|help",
    summary: "Explains the subcommands.",
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "MEMORY",
            &[
                "DOCTOR",
                "    Say whether memory looks healthy.",
                "MALLOC-STATS",
                "    Show the allocator's own figures.",
                "PURGE",
                "    Give unused memory back to the system.",
                "STATS",
                "    Show how memory is used.",
                "USAGE <key> [SAMPLES <count>]",
                "    Tell how many bytes a key and its value take. The count of samples is",
                "    accepted, and not needed.",
            ],
        )
    },
    ..BASE
};

fn usage(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut options = &args[3..];
    while let [word, count, rest @ ..] = options
        && args::is(word, "samples")
        && args::integer(count)? >= 0
    {
        options = rest;
    }
    if !options.is_empty() {
        return Err(CommandError::Syntax);
    }
    match ctx.db.peek(args[2])? {
        None => ctx.reply.null(),
        Some(entry) => {
            let pointer = size_of::<usize>();
            ctx.reply.integer((entry.memory_bytes() + pointer) as i64);
        }
    }
    Ok(())
}

fn stats(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let server = ctx.server;
    let used = crate::memory::used_bytes();
    let peak = server.stats.peak_memory(used);
    let startup = server.stats.startup_memory.load(Ordering::Relaxed);
    let resident = resident_bytes();
    let dbs = 0..server.keyspace.databases();
    let keys: u64 = dbs.map(|db| server.keyspace.key_count(db)).sum();
    let dataset = used.saturating_sub(startup);
    let log = server.log().map_or(0, |log| log.buffer_bytes());
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let integers = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", startup),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", 0),
        ("cluster.links", 0),
        ("aof.buffer", log),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.db.hashtable.lut", 0),
        ("overhead.db.hashtable.rehashing", 0),
        ("overhead.total", startup),
        ("db.dict.rehashing.count", 0),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", dataset),
        ("allocator.allocated", used),
        ("allocator.active", resident),
        ("allocator.resident", resident),
        ("allocator.muzzy", 0),
        ("allocator-fragmentation.bytes", 0),
        ("allocator-rss.bytes", 0),
        ("rss-overhead.bytes", 0),
        ("fragmentation.bytes", resident.saturating_sub(used)),
    ];
    let doubles = [
        ("dataset.percentage", ratio(dataset, used) * 100.0),
        ("peak.percentage", ratio(used, peak) * 100.0),
        ("allocator-fragmentation.ratio", 1.0),
        ("allocator-rss.ratio", 1.0),
        ("rss-overhead.ratio", 1.0),
        ("fragmentation", ratio(resident, used)),
    ];
    ctx.reply.map(integers.len() + doubles.len());
    for (name, value) in integers {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.integer(value as i64);
    }
    for (name, value) in doubles {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.double(value);
    }
    Ok(())
}

fn doctor(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let used = crate::memory::used_bytes();
    let peak = ctx.server.stats.peak_memory(used);
    let text = if used < 5 << 20 {
        "There is too little in memory to judge by.\n"
    } else if peak > used + used / 2 {
        "At its peak, memory use was far above what it is now: the process may hold pages that are free.\n"
    } else {
        "Memory looks healthy.\n"
    };
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}
