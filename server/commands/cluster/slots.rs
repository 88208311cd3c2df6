//! CLUSTER's subcommands about slots and their keys.

use redoubt_cluster::slots::{SLOT_COUNT, Slot};

use super::{BASE, ORDER, cluster_of, ok};
use crate::cluster::keys;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// A slot's number.
pub fn slot(arg: &[u8]) -> Result<Slot, CommandError> {
    let number = args::integer(arg).ok();
    number
        .and_then(|number| u16::try_from(number).ok())
        .and_then(Slot::new)
        .ok_or_else(|| CommandError::err("Invalid or out of range slot"))
}

/// CLUSTER ADDSLOTS slot [slot …]
pub const ADDSLOTS: Command = Command {
    name: "cluster|addslots",
    summary: "Gives slots to this node.",
    complexity: "O(N) where N is the number of slots.",
    arity: -3,
    flags: ORDER,
    args: &[Arg::integer("slot").multiple()],
    run: |ctx, args| singly(ctx, &args[2..], true),
    ..BASE
};

/// CLUSTER DELSLOTS slot [slot …]
pub const DELSLOTS: Command = Command {
    name: "cluster|delslots",
    summary: "Takes slots from whoever serves them.",
    run: |ctx, args| singly(ctx, &args[2..], false),
    ..ADDSLOTS
};

/// CLUSTER ADDSLOTSRANGE first last [first last …]
pub const ADDSLOTSRANGE: Command = Command {
    name: "cluster|addslotsrange",
    since: "7.0.0",
    summary: "Gives ranges of slots to this node.",
    complexity: "O(N) where N is the number of slots.",
    arity: -4,
    flags: ORDER,
    args: &[Arg::block(
        "range",
        &[Arg::integer("start-slot"), Arg::integer("end-slot")],
    )
    .multiple()],
    run: |ctx, args| ranges(ctx, "addslotsrange", &args[2..], true),
    ..BASE
};

/// CLUSTER DELSLOTSRANGE first last [first last …]
pub const DELSLOTSRANGE: Command = Command {
    name: "cluster|delslotsrange",
    summary: "Takes ranges of slots from whoever serves them.",
    run: |ctx, args| ranges(ctx, "delslotsrange", &args[2..], false),
    ..ADDSLOTSRANGE
};

fn singly(ctx: &mut Context<'_>, words: &[&[u8]], add: bool) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    let slots = words.iter().map(|word| slot(word));
    let slots = slots.collect::<Result<Vec<Slot>, _>>()?;
    let outcome = cluster.order(|bus| bus.change_slots(&slots, add));
    ok(ctx, outcome)
}

fn ranges(ctx: &mut Context<'_>, name: &str, words: &[&[u8]], add: bool) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::Arity(format!("cluster|{name}")));
    }
    let mut slots = Vec::new();
    for pair in words.chunks(2) {
        let (first, last) = (slot(pair[0])?.number(), slot(pair[1])?.number());
        if first > last {
            return Err(CommandError::err(format!(
                "start slot number {first} is greater than end slot number {last}"
            )));
        }
        slots.extend((first..=last).filter_map(Slot::new));
    }
    let outcome = cluster.order(|bus| bus.change_slots(&slots, add));
    ok(ctx, outcome)
}

/// CLUSTER FLUSHSLOTS
pub const FLUSHSLOTS: Command = Command {
    name: "cluster|flushslots",
    summary: "Takes all slots from this node.",
    arity: 2,
    flags: ORDER,
    run: |ctx, _| {
        let cluster = cluster_of(ctx)?;
        if keys::any(ctx.server) {
            return Err(CommandError::err(
                "DB must be empty to perform CLUSTER FLUSHSLOTS.",
            ));
        }
        cluster.order(|bus| bus.flush_slots());
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// CLUSTER FLUSHSLOT slot [ASYNC | SYNC]
pub const FLUSHSLOT: Command = Command {
    name: "cluster|flushslot",
    since: "9.0.0",
    summary: "Deletes a slot's keys.",
    complexity: "O(N) where N is the number of keys in the slot.",
    arity: -3,
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::WRITE,
    acl: acl::KEYSPACE,
    args: &[Arg::integer("slot")],
    run: |ctx, args| {
        cluster_of(ctx)?;
        let at = slot(args[2])?;
        match args[3..] {
            [] => {}
            [word] if is(word, "ASYNC") || is(word, "SYNC") => {}
            _ => return Err(CommandError::Syntax),
        }
        if ctx.in_transaction {
            // It takes and leaves the slot again and again, so that others get a turn.
            return Err(CommandError::err(
                "CLUSTER FLUSHSLOT can't be a part of a transaction or script",
            ));
        }
        match keys::flush(ctx.server, ctx.session, at) {
            true => ctx.reply.ok(),
            false => return Err(CommandError::Paused),
        }
        Ok(())
    },
    ..BASE
};

/// CLUSTER KEYSLOT key
pub const KEYSLOT: Command = Command {
    name: "cluster|keyslot",
    summary: "Tells the slot of a key.",
    complexity: "O(N) where N is the number of bytes of the key.",
    arity: 3,
    flags: flag::STALE,
    args: &[Arg::string("key")],
    run: |ctx, args| {
        // Without a cluster too: it is a question about the key alone.
        let number = Slot::of_key(args[2]).number();
        ctx.reply.integer(i64::from(number));
        Ok(())
    },
    ..BASE
};

/// CLUSTER COUNTKEYSINSLOT slot
pub const COUNTKEYSINSLOT: Command = Command {
    name: "cluster|countkeysinslot",
    summary: "Counts a slot's keys.",
    arity: 3,
    flags: flag::STALE,
    args: &[Arg::integer("slot")],
    run: |ctx, args| {
        cluster_of(ctx)?;
        let number = args::integer(args[2])?;
        let at = valid(number).ok_or_else(|| CommandError::err("Invalid slot"))?;
        let count = keys::count_in_db(ctx, at);
        ctx.reply.integer(count as i64);
        Ok(())
    },
    ..BASE
};

/// CLUSTER GETKEYSINSLOT slot count
pub const GETKEYSINSLOT: Command = Command {
    name: "cluster|getkeysinslot",
    summary: "Lists up to so many keys of a slot.",
    complexity: "O(N) where N is the number of keys asked for.",
    arity: 4,
    flags: flag::STALE,
    args: &[Arg::integer("slot"), Arg::integer("count")],
    run: |ctx, args| {
        cluster_of(ctx)?;
        let (number, limit) = (args::integer(args[2])?, args::integer(args[3])?);
        let (Some(at), Ok(limit)) = (valid(number), usize::try_from(limit)) else {
            return Err(CommandError::err("Invalid slot or number of keys"));
        };
        let keys = keys::list(ctx, at, limit);
        ctx.reply.array(keys.len());
        keys.iter().for_each(|key| ctx.reply.bulk(key));
        Ok(())
    },
    ..BASE
};

fn valid(number: i64) -> Option<Slot> {
    let number = u16::try_from(number).ok()?;
    Slot::new(number).filter(|_| usize::from(number) < SLOT_COUNT)
}
