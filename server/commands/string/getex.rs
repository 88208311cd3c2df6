//! GETEX: the string under a key, whose expiry is set or removed.

use super::expiration::Expiration;
use super::string_or_null;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::recorder::class;

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub const COMMAND: Command = Command {
    name: "getex",
    group: Group::String,
    since: "6.2.0",
    summary: "Returns the string under a key and sets or removes its expiry.",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STRING,
    keys: &[KeySpec {
        notes: "RW and UPDATE because it changes the TTL",
        ..KeySpec::one(1, &["RW", "access", "update"])
    }],
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").after("EX"),
                Arg::integer("milliseconds").after("PX"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime).after("EXAT"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).after("PXAT"),
                Arg::word("persist", "PERSIST"),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let mut expiration = Expiration::Unsaid;
    let mut at = 2;
    while at < args.len() {
        at += expiration.take(args[at], args.get(at + 1).copied(), "PERSIST")?;
    }
    let expire_at_ms = expiration.at_ms(ctx.now_ms(), "getex")?;
    let string = ctx.db.string(key)?;
    let found = string.is_some();
    string_or_null(ctx.reply, string);
    if !found {
        return Ok(());
    }
    match expire_at_ms {
        Some(at_ms) => expire(ctx, key, at_ms),
        None if expiration == Expiration::Word => persist(ctx, key),
        None => Ok(()),
    }
}

fn expire(ctx: &mut Context<'_>, key: &[u8], at_ms: i64) -> CommandResult {
    if at_ms <= ctx.now_ms() && ctx.db.expiry_mode == ExpiryMode::Remove {
        ctx.db.delete(key)?;
        let word = ctx.server.settings.expire_word();
        ctx.effects.add(&[word, key]);
        ctx.count_expired();
        ctx.db.changed(class::EXPIRED, "expired", key);
        return Ok(());
    }
    ctx.db.set_expiry(key, Some(at_ms))?;
    let at = itoa::Buffer::new().format(at_ms).to_string();
    ctx.effects.add(&[b"PEXPIREAT", key, at.as_bytes()]);
    ctx.db.changed(class::GENERIC, "expire", key);
    Ok(())
}

fn persist(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    if ctx.db.expiry(key)?.flatten().is_some() {
        ctx.db.set_expiry(key, None)?;
        ctx.effects.add(&[b"PERSIST", key]);
        ctx.db.changed(class::GENERIC, "persist", key);
    }
    Ok(())
}
