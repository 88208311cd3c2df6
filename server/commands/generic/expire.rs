//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: when a key goes by itself. All of
//! them enter the log as PEXPIREAT, or as DEL when the time is over already.

use crate::commands::args::{self, TimeUnit};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::recorder::class;

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[
        Arg::word("nx", "NX"),
        Arg::word("xx", "XX"),
        Arg::word("gt", "GT"),
        Arg::word("lt", "LT"),
    ],
)
.optional()
.since("7.0.0");

/// EXPIRE key seconds [NX | XX | GT | LT]
pub const EXPIRE: Command = Command {
    name: "expire",
    group: Group::Generic,
    summary: "Lets a key expire after so many seconds.",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[Arg::key("key"), Arg::integer("seconds"), CONDITION],
    run: |ctx, args| run(ctx, args, "expire", TimeUnit::Seconds),
    ..Command::BASE
};

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub const PEXPIRE: Command = Command {
    name: "pexpire",
    since: "2.6.0",
    summary: "Lets a key expire after so many milliseconds.",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION],
    run: |ctx, args| run(ctx, args, "pexpire", TimeUnit::Millis),
    ..EXPIRE
};

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
pub const EXPIREAT: Command = Command {
    name: "expireat",
    since: "1.2.0",
    summary: "Lets a key expire at a moment given in Unix seconds.",
    args: &[
        Arg::key("key"),
        Arg::new("unix-time-seconds", ArgKind::UnixTime),
        CONDITION,
    ],
    run: |ctx, args| run(ctx, args, "expireat", TimeUnit::UnixSeconds),
    ..EXPIRE
};

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
pub const PEXPIREAT: Command = Command {
    name: "pexpireat",
    since: "2.6.0",
    summary: "Lets a key expire at a moment given in Unix milliseconds.",
    args: &[
        Arg::key("key"),
        Arg::new("unix-time-milliseconds", ArgKind::UnixTime),
        CONDITION,
    ],
    run: |ctx, args| run(ctx, args, "pexpireat", TimeUnit::UnixMillis),
    ..EXPIRE
};

/// Which old expiry a new one may replace. A key or field without one counts as
/// expiring last of all for `later` and `sooner`.
#[derive(Default)]
pub struct Condition {
    absent: bool,
    present: bool,
    later: bool,
    sooner: bool,
}

impl Condition {
    /// Reads the conditions, of which some exclude others.
    pub fn parse(words: &[&[u8]]) -> Result<Condition, CommandError> {
        let mut condition = Condition::default();
        for word in words {
            let option = match () {
                () if args::is(word, "NX") => &mut condition.absent,
                () if args::is(word, "XX") => &mut condition.present,
                () if args::is(word, "GT") => &mut condition.later,
                () if args::is(word, "LT") => &mut condition.sooner,
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::err(format!("Unsupported option {word}")));
                }
            };
            *option = true;
        }
        if condition.absent && (condition.present || condition.later || condition.sooner) {
            return Err(CommandError::err(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if condition.later && condition.sooner {
            return Err(CommandError::err(
                "GT and LT options at the same time are not compatible",
            ));
        }
        Ok(condition)
    }

    /// Whether the new expiry may take the place of the old one.
    pub fn allows(&self, old: Option<i64>, new: i64) -> bool {
        let refused = self.absent && old.is_some()
            || self.present && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.sooner && old.is_some_and(|old| new >= old);
        !refused
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]], name: &str, unit: TimeUnit) -> CommandResult {
    let condition = Condition::parse(&args[3..])?;
    let key = args[1];
    let at_ms = unit
        .to_unix_ms(args::integer(args[2])?, ctx.now_ms())
        .ok_or_else(|| CommandError::InvalidExpire(name.into()))?;
    let allowed = match ctx.db.expiry(key)? {
        None => false,
        Some(old) => condition.allows(old, at_ms),
    };
    if !allowed {
        ctx.reply.integer(0);
        return Ok(());
    }
    if at_ms <= ctx.now_ms() && ctx.db.expiry_mode == ExpiryMode::Remove {
        ctx.db.delete(key)?;
        ctx.count_expired();
        ctx.db.changed(class::EXPIRED, "expired", key);
        let word = ctx.server.settings.expire_word();
        ctx.effects.add(&[word, key]);
    } else {
        ctx.db.set_expiry(key, Some(at_ms))?;
        ctx.db.changed(class::GENERIC, "expire", key);
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at_ms).as_bytes();
        ctx.effects.add(&[b"PEXPIREAT", key, at]);
    }
    ctx.reply.integer(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(words: &[&str], old: Option<i64>, new: i64) -> bool {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        Condition::parse(&words)
            .expect("they fit together")
            .allows(old, new)
    }

    #[test]
    fn a_key_without_expiry_counts_as_the_last_to_go() {
        assert!(allows(&[], None, 5) && allows(&[], Some(9), 5));
        assert!(allows(&["nx"], None, 5) && !allows(&["NX"], Some(9), 5));
        assert!(!allows(&["xx"], None, 5) && allows(&["XX"], Some(9), 5));
        assert!(!allows(&["gt"], None, 5) && !allows(&["gt"], Some(5), 5));
        assert!(allows(&["gt"], Some(4), 5));
        assert!(allows(&["lt"], None, 5) && !allows(&["lt"], Some(5), 5));
        assert!(allows(&["lt"], Some(6), 5) && !allows(&["xx", "lt"], None, 5));
    }
}
