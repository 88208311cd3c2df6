//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT: when fields go by themselves. All
//! of them enter the log as HPEXPIREAT for the fields that they changed, and
//! as HDEL for those whose time is over already.

use super::fields::{FIELDS, add_effect, conclude_removal, counted, mismatch, split};
use crate::commands::args::{self, TimeUnit};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::generic::expire::Condition;
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::recorder::class;

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The condition kept the field as it was.
const KEPT: i64 = 0;
/// The field expires then.
const SET: i64 = 1;
/// The field is gone, for the moment was past.
const REMOVED: i64 = 2;

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[
        Arg::word("nx", "NX"),
        Arg::word("xx", "XX"),
        Arg::word("gt", "GT"),
        Arg::word("lt", "LT"),
    ],
)
.optional();

/// HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]
pub const HEXPIRE: Command = Command {
    name: "hexpire",
    group: Group::Hash,
    since: "9.0.0",
    summary: "Lets fields of a hash expire after so many seconds.",
    complexity: "O(N) with N fields.",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[Arg::key("key"), Arg::integer("seconds"), CONDITION, FIELDS],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args, "hexpire", TimeUnit::Seconds)),
    ..Command::BASE
};

/// HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field …
pub const HPEXPIRE: Command = Command {
    name: "hpexpire",
    summary: "Lets fields of a hash expire after so many milliseconds.",
    args: &[
        Arg::key("key"),
        Arg::integer("milliseconds"),
        CONDITION,
        FIELDS,
    ],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args, "hpexpire", TimeUnit::Millis)),
    ..HEXPIRE
};

/// HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field …
pub const HEXPIREAT: Command = Command {
    name: "hexpireat",
    summary: "Lets fields of a hash expire at a moment given in Unix seconds.",
    args: &[
        Arg::key("key"),
        Arg::integer("unix-time-seconds"),
        CONDITION,
        FIELDS,
    ],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args, "hexpireat", TimeUnit::UnixSeconds)),
    ..HEXPIRE
};

/// HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields
/// field …
pub const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    summary: "Lets fields of a hash expire at a moment given in Unix milliseconds.",
    args: &[
        Arg::key("key"),
        Arg::integer("unix-time-milliseconds"),
        CONDITION,
        FIELDS,
    ],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args, "hpexpireat", TimeUnit::UnixMillis)),
    ..HEXPIRE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], name: &str, unit: TimeUnit) -> CommandResult {
    let key = args[1];
    let (options, rest) = split(args, 3)?;
    if rest.is_empty() {
        return Err(mismatch());
    }
    let condition = Condition::parse(options)?;
    let fields = counted(rest, 1)?;
    let at_ms = Some(args::integer(args[2])?)
        .filter(|time| *time >= 0)
        .and_then(|time| unit.to_unix_ms(time, ctx.now_ms()))
        .ok_or_else(|| CommandError::InvalidExpire(name.into()))?;
    let past = at_ms <= ctx.now_ms() && ctx.db.expiry_mode == ExpiryMode::Remove;
    // Looked at first, so that a hash that stays as it is isn't written again.
    let found = ctx.db.hash(key)?;
    let allows = |field: &&[u8]| {
        let old = found.and_then(|hash| hash.expiry(field));
        old.is_some_and(|old| condition.allows(old, at_ms))
    };
    if !fields.iter().any(allows) {
        ctx.reply.array(fields.len());
        for field in fields {
            let is_there = found.is_some_and(|hash| hash.contains(field));
            ctx.reply.integer(if is_there { KEPT } else { NO_FIELD });
        }
        return Ok(());
    }
    let (mut removed, mut set): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    ctx.reply.array(fields.len());
    let Some(hash) = ctx.db.hash_mut(key)? else {
        return Ok(());
    };
    for field in fields {
        let answer = match hash.expiry(field) {
            None => NO_FIELD,
            Some(old) if !condition.allows(old, at_ms) => KEPT,
            Some(_) if past => {
                hash.remove(field);
                removed.push(field);
                REMOVED
            }
            Some(_) => {
                hash.set_expiry(field, Some(at_ms));
                set.push(field);
                SET
            }
        };
        ctx.reply.integer(answer);
    }
    ctx.count_expired_fields(removed.len());
    conclude_removal(ctx, key, &removed, "hexpired")?;
    conclude_expiry(ctx, key, at_ms, &set);
    Ok(())
}

/// Logs that fields, if any, expire at a moment.
pub fn conclude_expiry(ctx: &mut Context<'_>, key: &[u8], at_ms: i64, fields: &[&[u8]]) {
    if fields.is_empty() {
        return;
    }
    ctx.db.schedule_fields(key);
    let at = itoa::Buffer::new().format(at_ms).to_string();
    let head: [&[u8]; 3] = [b"HPEXPIREAT", key, at.as_bytes()];
    add_effect(&mut ctx.effects, &head, 1, fields);
    ctx.db.changed(class::HASH, "hexpire", key);
}
