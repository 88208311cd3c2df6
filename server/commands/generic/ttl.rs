//! TTL, PTTL, EXPIRETIME, PEXPIRETIME: when a key expires. -2 stands for no
//! key, -1 for a key that never does.

use super::access::untouched;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

const NO_KEY: i64 = -2;
const NEVER: i64 = -1;

/// TTL key
pub const TTL: Command = Command {
    name: "ttl",
    group: Group::Generic,
    summary: "Tells in how many seconds a key expires.",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run: |ctx, args| run(ctx, args[1], true, true),
    ..Command::BASE
};

/// PTTL key
pub const PTTL: Command = Command {
    name: "pttl",
    since: "2.6.0",
    summary: "Tells in how many milliseconds a key expires.",
    run: |ctx, args| run(ctx, args[1], true, false),
    ..TTL
};

/// EXPIRETIME key
pub const EXPIRETIME: Command = Command {
    name: "expiretime",
    since: "7.0.0",
    summary: "Tells when a key expires, in Unix seconds.",
    run: |ctx, args| run(ctx, args[1], false, true),
    ..TTL
};

/// PEXPIRETIME key
pub const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    since: "7.0.0",
    summary: "Tells when a key expires, in Unix milliseconds.",
    run: |ctx, args| run(ctx, args[1], false, false),
    ..TTL
};

fn run(ctx: &mut Context<'_>, key: &[u8], relative: bool, seconds: bool) -> CommandResult {
    let now_ms = ctx.now_ms();
    let answer = match untouched(ctx, key, |entry| entry.expire_at_ms())? {
        None => NO_KEY,
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
    Ok(())
}
