//! DBSIZE, FLUSHDB, FLUSHALL, SWAPDB: databases as wholes. Flushing takes no
//! time; the memory is always freed in the background, SYNC or not.

use super::walk::{self, SLOTS};
use crate::cluster::migration::may_have_foreign;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::stripe::stripe_of;

/// DBSIZE
pub const DBSIZE: Command = Command {
    name: "dbsize",
    group: Group::Server,
    summary: "Counts the keys of the selected database.",
    arity: 1,
    flags: flag::READONLY | flag::FAST,
    acl: acl::KEYSPACE,
    locks: Locks::None,
    run: |ctx, _| {
        let keys = ctx.db.len() - hidden_keys(ctx)?.min(ctx.db.len());
        ctx.reply.integer(keys as i64);
        Ok(())
    },
    ..Command::BASE
};

/// FLUSHDB [ASYNC | SYNC]
pub const FLUSHDB: Command = Command {
    name: "flushdb",
    group: Group::Server,
    summary: "Removes all keys of the selected database.",
    arity: -1,
    flags: flag::WRITE,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    locks: Locks::All,
    args: &[Arg::one_of(
        "flush-type",
        &[
            Arg::word("async", "ASYNC").since("4.0.0"),
            Arg::word("sync", "SYNC").since("6.2.0"),
        ],
    )
    .optional()],
    run: |ctx, args| {
        let db = ctx.session.db;
        flush(ctx, args, db..db + 1)
    },
    ..Command::BASE
};

/// FLUSHALL [ASYNC | SYNC]
pub const FLUSHALL: Command = Command {
    name: "flushall",
    summary: "Removes all keys of all databases.",
    run: |ctx, args| {
        let databases = ctx.server.keyspace.databases();
        flush(ctx, args, 0..databases)?;
        // A snapshot of what was just thrown away is of no use.
        ctx.server.saves.cancel();
        Ok(())
    },
    ..FLUSHDB
};

/// SWAPDB index1 index2
pub const SWAPDB: Command = Command {
    name: "swapdb",
    group: Group::Server,
    since: "4.0.0",
    summary: "Exchanges two databases, for all clients at once.",
    complexity: "O(N) for the N clients that watch or wait for keys.",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    locks: Locks::All,
    args: &[Arg::integer("index1"), Arg::integer("index2")],
    run: swap,
    ..Command::BASE
};

/// The class of what breaks WATCHes but is no notification.
const SILENT: u32 = 0;

/// How many keys belong to slots that are another node's.
fn hidden_keys(ctx: &mut Context<'_>) -> Result<u64, CommandError> {
    let server = ctx.server;
    let mut hidden = 0;
    if !may_have_foreign(server, ctx.db.index()) {
        return Ok(hidden);
    }
    ctx.each_stripe(Context::all_stripes(), |db, stripe, _| {
        let foreign = |slot: &u32| {
            let cluster = server.cluster.as_ref();
            cluster.is_some_and(|cluster| cluster.is_foreign(*slot as u16))
        };
        if db.stripe_may_have_keys(stripe) {
            for slot in walk::slots_within(&(0..SLOTS), stripe).filter(foreign) {
                hidden += db.slot_len(slot as u16)? as u64;
            }
        }
        Ok(true)
    })?;
    Ok(hidden)
}

/// Slots that are on the move can't be any more.
fn stop_migrations(ctx: &Context<'_>) {
    if let Some(cluster) = &ctx.server.cluster {
        cluster.migrations.flushed();
    }
}

fn flush(ctx: &mut Context<'_>, args: &[&[u8]], databases: std::ops::Range<u32>) -> CommandResult {
    match args[1..] {
        [] => {}
        [word] if args::is(word, "ASYNC") || args::is(word, "SYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    stop_migrations(ctx);
    for db in databases {
        ctx.db.select(db);
        let mut minded = ctx.server.watches.keys_of(db);
        minded.extend(ctx.server.blocked.keys_of(db));
        minded.retain(|key| ctx.db.exists(key).unwrap_or(true));
        if !ctx.db.is_empty() || may_have_keys(ctx) {
            ctx.db.recorder.dirty += ctx.db.flush(db);
        }
        minded
            .iter()
            .for_each(|key| ctx.db.changed(SILENT, "flushdb", key));
    }
    ctx.db.recorder.flushed = true;
    ctx.db.select(ctx.session.db);
    // It enters the log even if there was nothing: a replica may think
    // otherwise.
    ctx.db.recorder.dirty += 1;
    ctx.reply.ok();
    Ok(())
}

fn may_have_keys(ctx: &mut Context<'_>) -> bool {
    (0..=stripe_of((SLOTS - 1) as u16)).any(|stripe| ctx.db.stripe_may_have_keys(stripe))
}

fn swap(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if ctx.server.cluster.is_some() && !ctx.session.replaying {
        return Err(CommandError::err("SWAPDB is not allowed in cluster mode"));
    }
    let number = |arg: &[u8], text: &str| {
        let number = args::integer(arg).ok().map(i32::try_from);
        match number {
            Some(Ok(number)) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
            _ => Err(CommandError::err(text)),
        }
    };
    let one = number(args[1], "invalid first DB index")?;
    let other = number(args[2], "invalid second DB index")?;
    let databases = ctx.server.keyspace.databases();
    if one >= databases || other >= databases {
        return Err(CommandError::out_of_range("DB index is out of range"));
    }
    if one != other {
        // All look-ups come before the exchange: what they find expired enters
        // the log before it, under the old numbers.
        let touched = touched_by_swap(ctx, one, other)?;
        stop_migrations(ctx);
        ctx.db.swap(one, other);
        for (db, key) in touched {
            ctx.db.select(db);
            ctx.db.changed(SILENT, "swapdb", &key);
        }
        ctx.db.recorder.dirty += 1;
    }
    ctx.db.select(ctx.session.db);
    ctx.reply.ok();
    Ok(())
}

/// Keys under which a client sees something else after the exchange: watched
/// and waited-for ones that exist in either database.
fn touched_by_swap(
    ctx: &mut Context<'_>,
    one: u32,
    other: u32,
) -> Result<Vec<(u32, Vec<u8>)>, CommandError> {
    let mut touched = Vec::new();
    for (db, source) in [(one, other), (other, one)] {
        let mut minded = ctx.server.watches.keys_of(db);
        minded.extend(ctx.server.blocked.keys_of(db));
        for key in minded {
            ctx.db.select(db);
            let before = ctx.db.exists(&key)?;
            ctx.db.select(source);
            if ctx.db.exists(&key)? || before {
                touched.push((db, key));
            }
        }
    }
    Ok(touched)
}
