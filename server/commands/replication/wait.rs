//! WAIT and WAITAOF: until replicas, or the disk, have what was written. The
//! client waits, no thread does.

use redoubt_persistence::log::SyncPolicy;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::replication::replicas::{APPEND_ONLY_IS_OFF, Acks};
use crate::runtime::replication;

/// WAIT numreplicas timeout
pub const WAIT: Command = Command {
    name: "wait",
    group: Group::Generic,
    since: "3.0.0",
    summary: "Waits until replicas have acknowledged what the client wrote.",
    arity: 3,
    flags: flag::BLOCKING,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    run: wait,
    ..Command::BASE
};

/// WAITAOF numlocal numreplicas timeout
pub const WAITAOF: Command = Command {
    name: "waitaof",
    since: "7.2.0",
    summary: "Waits until what the client wrote is on disk, here or on replicas.",
    arity: 4,
    args: &[
        Arg::integer("numlocal"),
        Arg::integer("numreplicas"),
        Arg::integer("timeout"),
    ],
    run: waitaof,
    ..WAIT
};

fn timeout_ms(arg: &[u8], now_ms: i64) -> Result<u64, CommandError> {
    let ms = args::integer(arg)
        .map_err(|_| CommandError::err("timeout is not an integer or out of range"))?;
    if ms.checked_add(now_ms).is_none() {
        return Err(CommandError::err("timeout is out of range"));
    }
    u64::try_from(ms).map_err(|_| CommandError::err("timeout is negative"))
}

fn wait(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    refuse_on_replica(
        ctx,
        "WAIT",
        " Please also note that if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
    )?;
    let replicas = args::integer(args[1])?;
    let timeout_ms = timeout_ms(args[2], ctx.now_ms())?;
    let acks = Acks {
        server: ctx.server,
        log_offset: ctx.server.log().map_or(0, |log| log.end().0),
        replicas: usize::try_from(replicas).unwrap_or(0),
        on_disk: None,
    };
    wait_for(ctx, acks, timeout_ms);
    Ok(())
}

fn waitaof(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    const BOUNDS: &str = "value is out of range, value must between 0 and 1";
    let local = args::integer(args[1])?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::out_of_range(BOUNDS));
    }
    let replicas = args::integer(args[2]).ok();
    let replicas = replicas
        .and_then(|replicas| usize::try_from(replicas).ok())
        .ok_or_else(|| CommandError::out_of_range("value is out of range, must be positive"))?;
    let timeout_ms = timeout_ms(args[3], ctx.now_ms())?;
    refuse_on_replica(
        ctx,
        "WAITAOF",
        " Please also note that writes to replicas are just local and are not propagated.",
    )?;
    if local == 1 && !ctx.server.will_count_as_on_disk() {
        return Err(CommandError::text(APPEND_ONLY_IS_OFF));
    }
    let end = ctx.server.log().map(|log| log.end());
    if let (1, Some(log), Some(end)) = (local, ctx.server.log(), end) {
        // Under `appendfsync no` the next checkpoint is waited for.
        if log.policy() != SyncPolicy::No {
            log.sync_soon(end);
        }
    }
    let acks = Acks {
        server: ctx.server,
        log_offset: end.map_or(0, |end| end.0),
        replicas,
        on_disk: Some(local == 1),
    };
    wait_for(ctx, acks, timeout_ms);
    Ok(())
}

/// Answers at once if enough have it, or nothing may block here.
fn wait_for(ctx: &mut Context<'_>, acks: Acks, timeout_ms: u64) {
    if acks.are_enough() || ctx.in_transaction {
        acks.write(ctx.reply);
        return;
    }
    if acks.replicas > 0 {
        replication::ask_for_acks(ctx.server);
    }
    ctx.block(BlockRequest {
        keys: Vec::new(),
        args: None,
        timeout_ms,
        on_timeout: TimeoutReply::Acks(acks),
    });
}

fn refuse_on_replica(ctx: &Context<'_>, name: &str, note: &str) -> CommandResult {
    match ctx.server.replication.is_replica() {
        false => Ok(()),
        true => Err(CommandError::err(format!(
            "{name} cannot be used with replica instances.{note}"
        ))),
    }
}
