//! SET: stores a string under a key, with conditions and an expiry.

use super::expiration::Expiration;
use super::string_or_null;
use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
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
    expiration: Expiration<'a>,
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        condition: Condition::Always,
        get: false,
        expiration: Expiration::Unsaid,
    };
    let mut at = 3;
    while at < args.len() {
        let (word, next) = (args[at], args.get(at + 1).copied());
        let condition = options.condition;
        let free = |wanted| condition == Condition::Always || condition == wanted;
        if args::is(word, "NX") && free(Condition::IfAbsent) {
            options.condition = Condition::IfAbsent;
        } else if args::is(word, "XX") && free(Condition::IfPresent) {
            options.condition = Condition::IfPresent;
        } else if let (true, Condition::Always, Some(next)) =
            (args::is(word, "IFEQ"), condition, next)
        {
            options.condition = Condition::IfEqual(next);
            at += 1;
        } else if args::is(word, "GET") {
            options.get = true;
        } else {
            at += options.expiration.take(word, next, "KEEPTTL")? - 1;
        }
        at += 1;
    }
    Ok(options)
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
    let expire_at_ms = options.expiration.at_ms(ctx.now_ms(), "set")?;
    let met = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => !ctx.db.exists(key)?,
        Condition::IfPresent => ctx.db.exists(key)?,
        Condition::IfEqual(wanted) => ctx
            .db
            .peek_string(key)?
            .is_some_and(|old| old.to_vec() == wanted),
    };
    if options.get {
        string_or_null(ctx.reply, ctx.db.string(key)?);
    } else if !met {
        ctx.reply.null();
    }
    if !met {
        return Ok(());
    }
    store(
        ctx,
        key,
        value,
        options.expiration == Expiration::Word,
        expire_at_ms,
    )?;
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// Stores a string with an absolute expiry, the old one or none, and names
/// the effect. What would have expired already is removed instead.
pub(super) fn store(
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
        if ctx.db.delete(key)? {
            let word = ctx.server.settings.expire_word();
            ctx.effects.add(&[word, key]);
            ctx.count_expired();
            ctx.db.changed(class::EXPIRED, "expired", key);
        }
        return Ok(());
    }
    ctx.db.set_string(key, value, expire_at_ms)?;
    ctx.db.changed(class::STRING, "set", key);
    match expire_at_ms {
        Some(at_ms) => {
            let at = itoa::Buffer::new().format(at_ms).to_string();
            ctx.effects
                .add(&[b"SET", key, value, b"PXAT", at.as_bytes()]);
            if !keep_ttl {
                ctx.db.event(class::GENERIC, "expire", key);
            }
        }
        None => ctx.effects.add(&[b"SET", key, value]),
    }
    Ok(())
}
