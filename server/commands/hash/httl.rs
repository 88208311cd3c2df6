//! HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME: when fields expire.

use super::fields::{FIELDS, counted};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NEVER: i64 = -1;

/// HTTL key FIELDS numfields field [field …]
pub const HTTL: Command = Command {
    name: "httl",
    group: Group::Hash,
    since: "9.0.0",
    summary: "Tells in how many seconds fields of a hash expire.",
    complexity: "O(N) with N fields.",
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), FIELDS],
    run: |ctx, args| run(ctx, args, true, true),
    ..Command::BASE
};

/// HPTTL key FIELDS numfields field [field …]
pub const HPTTL: Command = Command {
    name: "hpttl",
    summary: "Tells in how many milliseconds fields of a hash expire.",
    run: |ctx, args| run(ctx, args, true, false),
    ..HTTL
};

/// HEXPIRETIME key FIELDS numfields field [field …]
pub const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    summary: "Tells when fields of a hash expire, in Unix seconds.",
    run: |ctx, args| run(ctx, args, false, true),
    ..HTTL
};

/// HPEXPIRETIME key FIELDS numfields field [field …]
pub const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    summary: "Tells when fields of a hash expire, in Unix milliseconds.",
    run: |ctx, args| run(ctx, args, false, false),
    ..HTTL
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], relative: bool, seconds: bool) -> CommandResult {
    let now_ms = ctx.now_ms();
    if !args::is(args[2], "FIELDS") {
        return Err(CommandError::Syntax);
    }
    args::integer(args[3])?;
    let fields = counted(&args[3..], 1).map_err(|_| CommandError::Syntax)?;
    let hash = ctx.db.hash(args[1])?;
    ctx.reply.array(fields.len());
    for field in fields {
        let answer = match hash.and_then(|hash| hash.expiry(field)) {
            None => NO_FIELD,
            Some(None) => NEVER,
            Some(Some(at_ms)) => {
                let ms = match relative {
                    true => at_ms.saturating_sub(now_ms).max(0),
                    false => at_ms,
                };
                match seconds {
                    true => ms.saturating_add(500) / 1000,
                    false => ms,
                }
            }
        };
        ctx.reply.integer(answer);
    }
    Ok(())
}
