//! WAIT and WAITAOF: until others, or the disk, have what was written. There
//! are no replicas yet, so nobody but the disk can ever acknowledge.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::blocking::{BlockRequest, TimeoutReply};

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

fn timeout_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let ms = args::integer(arg)
        .map_err(|_| CommandError::err("timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| CommandError::err("timeout is negative"))
}

fn wait(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let replicas = args::integer(args[1])?;
    let timeout_ms = timeout_ms(args[2])?;
    if replicas <= 0 {
        ctx.reply.integer(0);
        return Ok(());
    }
    ctx.block(BlockRequest {
        keys: Vec::new(),
        timeout_ms,
        on_timeout: TimeoutReply::Zero,
        args: None,
    });
    Ok(())
}

fn waitaof(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    const BOUNDS: &str = "value is out of range, value must between 0 and 1";
    let local = args::integer(args[1])?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::out_of_range(BOUNDS));
    }
    let replicas = args::integer(args[2])?;
    if replicas < 0 {
        return Err(CommandError::out_of_range(
            "value is out of range, must be positive",
        ));
    }
    let timeout_ms = timeout_ms(args[3])?;
    let synced = match ctx.server.log() {
        None if local == 1 => {
            return Err(CommandError::err(
                "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ));
        }
        None => false,
        Some(log) => {
            let end = log.end();
            if local == 1 {
                log.sync_to(end)
                    .map_err(|e| CommandError::Storage(e.to_string()))?;
            }
            log.synced() >= end
        }
    };
    if replicas > 0 {
        ctx.block(BlockRequest {
            keys: Vec::new(),
            timeout_ms,
            on_timeout: TimeoutReply::Acknowledged {
                local: i64::from(synced),
            },
            args: None,
        });
        return Ok(());
    }
    ctx.reply.array(2);
    ctx.reply.integer(i64::from(synced));
    ctx.reply.integer(0);
    Ok(())
}
