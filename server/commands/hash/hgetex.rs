//! HGETEX: the values of fields, which expire then, or no more.

use super::fields::{
    FIELDS, MILLIS, SECONDS, UNIX_MILLIS, UNIX_SECONDS, conclude_removal, counted, expiration,
    split,
};
use super::hexpire::conclude_expiry;
use super::hpersist::conclude_persisting;
use super::put;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::string::expiration::Expiration;
use crate::keyspace::db::ExpiryMode;

/// HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT
/// unix-time-milliseconds | PERSIST] FIELDS numfields field [field …]
pub const COMMAND: Command = Command {
    name: "hgetex",
    group: Group::Hash,
    since: "9.0.0",
    summary: "Returns the values of fields of a hash and sets or removes their expiry.",
    complexity: "O(N) with N fields.",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[
        Arg::key("key"),
        expiration(&[
            SECONDS,
            MILLIS,
            UNIX_SECONDS,
            UNIX_MILLIS,
            Arg::word("persist", "PERSIST"),
        ]),
        FIELDS,
    ],
    run,
    ..Command::BASE
};

/// What becomes of the fields that are read.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    Expire(i64),
    Persist,
    Remove,
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let (mut options, rest) = split(args, 2)?;
    let mut expiration = Expiration::Unsaid;
    while let Some((word, after)) = options.split_first() {
        let taken = expiration.take(word, after.first().copied(), "PERSIST")?;
        options = &options[taken..];
    }
    let fields = counted(rest, 1)?;
    // Another type is told of before a wrong time.
    ctx.uncounted(|ctx| ctx.db.hash(key).map(drop))?;
    let then = match (expiration, expire_at_ms(ctx, expiration, "hgetex")?) {
        (Expiration::Word, _) => Then::Persist,
        (_, None) => Then::Nothing,
        (_, Some(at_ms)) => match is_past(ctx, at_ms) {
            true => Then::Remove,
            false => Then::Expire(at_ms),
        },
    };
    read(ctx, key, fields, then)
}

fn read(ctx: &mut Context<'_>, key: &[u8], fields: &[&[u8]], then: Then) -> CommandResult {
    let hash = ctx.db.hash(key)?;
    ctx.reply.array(fields.len());
    let changes = |field: &&[u8]| {
        let expiry = hash.and_then(|hash| hash.expiry(field));
        match then {
            Then::Nothing => false,
            Then::Persist => matches!(expiry, Some(Some(_))),
            Then::Expire(_) | Then::Remove => expiry.is_some(),
        }
    };
    if !fields.iter().any(changes) {
        for field in fields {
            match hash.and_then(|hash| hash.get(field)) {
                None => ctx.reply.null(),
                Some(value) => put(ctx.reply, value),
            }
        }
        return Ok(());
    }
    let Some(hash) = ctx.db.hash_mut(key)? else {
        return Ok(());
    };
    let mut changed: Vec<&[u8]> = Vec::new();
    for &field in fields {
        let Some(value) = hash.get(field) else {
            ctx.reply.null();
            continue;
        };
        put(ctx.reply, value);
        match then {
            Then::Nothing => continue,
            Then::Expire(at_ms) => hash.set_expiry(field, Some(at_ms)),
            Then::Persist if hash.expiry(field).flatten().is_none() => continue,
            Then::Persist => hash.set_expiry(field, None),
            Then::Remove => {
                hash.remove(field);
            }
        }
        changed.push(field);
    }
    match then {
        Then::Nothing => {}
        Then::Expire(at_ms) => conclude_expiry(ctx, key, at_ms, &changed),
        Then::Persist => conclude_persisting(ctx, key, &changed),
        Then::Remove => {
            ctx.count_expired_fields(changed.len());
            conclude_removal(ctx, key, &changed, "hexpired")?;
        }
    }
    Ok(())
}

/// The moment that an option gives; 0 is one, unlike for keys.
pub fn expire_at_ms(
    ctx: &Context<'_>,
    expiration: Expiration<'_>,
    command: &str,
) -> Result<Option<i64>, CommandError> {
    let Expiration::Given(unit, time) = expiration else {
        return Ok(None);
    };
    Some(args::integer(time)?)
        .filter(|time| *time >= 0)
        .and_then(|time| unit.to_unix_ms(time, ctx.now_ms()))
        .map(Some)
        .ok_or_else(|| CommandError::InvalidExpire(command.into()))
}

/// Whether what expires at a moment is to be removed at once.
pub fn is_past(ctx: &Context<'_>, at_ms: i64) -> bool {
    at_ms <= ctx.now_ms() && ctx.db.expiry_mode == ExpiryMode::Remove
}
