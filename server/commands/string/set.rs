//! SET: stores a string under a key, with conditions and an expiry.

use crate::commands::args::{self, TimeUnit};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::StringRef;
use crate::keyspace::recorder::class;

/// SET key value [NX | XX | IFEQ comparison] [GET] [EX s | PX ms | EXAT s |
/// PXAT ms | KEEPTTL]
pub const COMMAND: Command = Command {
    name: "set",
    group: Group::String,
    since: "1.0.0",
    summary: "Stores a string under a key, whatever was there before.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec {
        notes: "RW and ACCESS due to the optional `GET` argument",
        ..KeySpec::one(1, &["RW", "access", "update", "variable_flags"])
    }],
    args: &[
        Arg::key("key"),
        Arg::string("value"),
        Arg::one_of(
            "condition",
            &[
                Arg::word("nx", "NX"),
                Arg::word("xx", "XX"),
                Arg::string("comparison-value").after("IFEQ").since("8.1.0"),
            ],
        )
        .optional()
        .since("2.6.12"),
        Arg::word("get", "GET").optional().since("6.2.0"),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").after("EX").since("2.6.12"),
                Arg::integer("milliseconds").after("PX").since("2.6.12"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime)
                    .after("EXAT")
                    .since("6.2.0"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime)
                    .after("PXAT")
                    .since("6.2.0"),
                Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    Always,
    IfAbsent,
    IfPresent,
    IfEqual(&'a [u8]),
}

struct Options<'a> {
    condition: Condition<'a>,
    get: bool,
    keep_ttl: bool,
    expiry: Option<(TimeUnit, &'a [u8])>,
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        condition: Condition::Always,
        get: false,
        keep_ttl: false,
        expiry: None,
    };
    let mut at = 3;
    while at < args.len() {
        let (word, next) = (args[at], args.get(at + 1).copied());
        let unconditional = options.condition == Condition::Always;
        let no_expiry = options.expiry.is_none() && !options.keep_ttl;
        let unit = [
            ("EX", TimeUnit::Seconds),
            ("PX", TimeUnit::Millis),
            ("EXAT", TimeUnit::UnixSeconds),
            ("PXAT", TimeUnit::UnixMillis),
        ]
        .into_iter()
        .find(|(name, _)| args::is(word, name));
        if args::is(word, "NX") && unconditional {
            options.condition = Condition::IfAbsent;
        } else if args::is(word, "XX") && unconditional {
            options.condition = Condition::IfPresent;
        } else if let (true, true, Some(next)) = (args::is(word, "IFEQ"), unconditional, next) {
            options.condition = Condition::IfEqual(next);
            at += 1;
        } else if args::is(word, "GET") {
            options.get = true;
        } else if args::is(word, "KEEPTTL") && no_expiry {
            options.keep_ttl = true;
        } else if let (Some((_, unit)), true, Some(next)) = (unit, no_expiry, next) {
            options.expiry = Some((unit, next));
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// The absolute expiry that an option asks for.
pub fn expiry_ms(
    unit: TimeUnit,
    value: &[u8],
    now_ms: i64,
    command: &str,
) -> Result<i64, CommandError> {
    let invalid = || CommandError::InvalidExpire(command.to_string());
    let value = args::integer(value)?;
    if value <= 0 {
        return Err(invalid());
    }
    unit.to_unix_ms(value, now_ms).ok_or_else(invalid)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, value) = (args[1], args[2]);
    if args.len() == 3 {
        ctx.db.set_string(key, value, None)?;
        ctx.db.changed(class::STRING, "set", key);
        ctx.reply.ok();
        return Ok(());
    }
    let options = parse(args)?;
    let expire_at_ms = match options.expiry {
        None => None,
        Some((unit, value)) => Some(expiry_ms(unit, value, ctx.now_ms(), "set")?),
    };
    let met = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => !ctx.db.exists(key)?,
        Condition::IfPresent => ctx.db.exists(key)?,
        Condition::IfEqual(wanted) => ctx
            .db
            .string(key)?
            .is_some_and(|old| old.to_vec() == wanted),
    };
    if options.get {
        match ctx.db.string(key)? {
            None => ctx.reply.null(),
            Some(StringRef::Int(int)) => ctx.reply.bulk_integer(int),
            Some(StringRef::Bytes(bytes)) => ctx.reply.bulk(bytes),
        }
    } else if !met {
        ctx.reply.null();
    }
    if !met {
        return Ok(());
    }
    store(ctx, key, value, options.keep_ttl, expire_at_ms)?;
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

fn store(
    ctx: &mut Context<'_>,
    key: &[u8],
    value: &[u8],
    keep_ttl: bool,
    expire_at_ms: Option<i64>,
) -> CommandResult {
    let expire_at_ms = match keep_ttl {
        true => ctx.db.expiry(key)?.flatten(),
        false => expire_at_ms,
    };
    let past = expire_at_ms.is_some_and(|at| at <= ctx.now_ms());
    if past && ctx.db.expiry_mode == crate::keyspace::db::ExpiryMode::Remove {
        // Stored and expired at once: nothing but a removal is left of it.
        ctx.effects.add(&[b"DEL", key]);
        ctx.db.delete(key)?;
        ctx.db.changed(class::GENERIC, "del", key);
        return Ok(());
    }
    ctx.db.set_string(key, value, expire_at_ms)?;
    ctx.db.changed(class::STRING, "set", key);
    match expire_at_ms {
        Some(at_ms) => {
            let at = itoa::Buffer::new().format(at_ms).to_string();
            ctx.effects
                .add(&[b"SET", key, value, b"PXAT", at.as_bytes()]);
            ctx.db.event(class::GENERIC, "expire", key);
        }
        None => ctx.effects.add(&[b"SET", key, value]),
    }
    Ok(())
}
