//! HSETEX: gives fields values and an expiry, under conditions.

use super::fields::{
    MILLIS, SECONDS, UNIX_MILLIS, UNIX_SECONDS, add_effect, counted, expiration, split,
};
use super::hgetex::{expire_at_ms, is_past};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::string::expiration::Expiration;
use crate::keyspace::recorder::class;

/// HSETEX key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT
/// unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields
/// field value [field value …]
pub const COMMAND: Command = Command {
    name: "hsetex",
    group: Group::Hash,
    since: "9.0.0",
    summary: "Gives fields of a hash values and an expiry, under conditions.",
    complexity: "O(N) with N fields.",
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "key-condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX")],
        )
        .optional(),
        Arg::one_of(
            "fields-condition",
            &[Arg::word("fnx", "FNX"), Arg::word("fxx", "FXX")],
        )
        .optional(),
        expiration(&[
            SECONDS,
            MILLIS,
            UNIX_SECONDS,
            UNIX_MILLIS,
            Arg::word("keepttl", "KEEPTTL"),
        ]),
        Arg::block(
            "fields",
            &[
                Arg::integer("numfields"),
                Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
            ],
        )
        .after("FIELDS"),
    ],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args)),
    ..Command::BASE
};

/// Under which conditions, and with which expiry.
struct Options<'a> {
    /// Whether the key must be there.
    key_there: Option<bool>,
    /// Whether all fields must be there, or none.
    fields_there: Option<bool>,
    expiration: Expiration<'a>,
}

impl<'a> Options<'a> {
    fn parse(mut words: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            key_there: None,
            fields_there: None,
            expiration: Expiration::Unsaid,
        };
        while let Some((word, after)) = words.split_first() {
            let (condition, wanted) = match () {
                () if args::is(word, "NX") => (&mut options.key_there, false),
                () if args::is(word, "XX") => (&mut options.key_there, true),
                () if args::is(word, "FNX") => (&mut options.fields_there, false),
                () if args::is(word, "FXX") => (&mut options.fields_there, true),
                () => {
                    let next = after.first().copied();
                    let taken = options.expiration.take(word, next, "KEEPTTL")?;
                    words = &words[taken..];
                    continue;
                }
            };
            if condition.is_some_and(|other| other != wanted) {
                return Err(CommandError::Syntax);
            }
            *condition = Some(wanted);
            words = after;
        }
        Ok(options)
    }

    /// Whether the condition on the fields holds.
    fn fields_fit(
        &self,
        ctx: &mut Context<'_>,
        key: &[u8],
        data: &[&[u8]],
    ) -> Result<bool, CommandError> {
        let Some(wanted) = self.fields_there else {
            return Ok(true);
        };
        let hash = ctx.db.hash(key)?;
        let is_there = |field: &[u8]| hash.is_some_and(|hash| hash.contains(field));
        Ok(data.chunks_exact(2).all(|pair| is_there(pair[0]) == wanted))
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let (words, rest) = split(args, 2)?;
    let options = Options::parse(words)?;
    let data = counted(rest, 2)?;
    let is_there = ctx.db.hash(key)?.is_some();
    // In the field, this comes before a look at the time.
    if options.key_there.is_some_and(|wanted| wanted != is_there) {
        ctx.reply.integer(0);
        return Ok(());
    }
    let at_ms = expire_at_ms(ctx, options.expiration, "hsetex")?;
    let fit = options.fields_fit(ctx, key, data)?;
    ctx.reply.integer(i64::from(fit));
    match at_ms {
        _ if !fit => Ok(()),
        Some(at_ms) if is_past(ctx, at_ms) => set_and_expire(ctx, key, data),
        _ => set(ctx, key, data, at_ms, options.expiration),
    }
}

fn set(
    ctx: &mut Context<'_>,
    key: &[u8],
    data: &[&[u8]],
    at_ms: Option<i64>,
    expiration: Expiration<'_>,
) -> CommandResult {
    let hash = ctx.db.hash_or_new(key)?;
    let longest = data.iter().map(|word| word.len()).max().unwrap_or(0);
    // A field that comes twice must not count twice here.
    hash.prepare(0, longest);
    for pair in data.chunks_exact(2) {
        match expiration {
            Expiration::Word => hash.set_keeping_expiry(pair[0], pair[1]),
            _ => hash.set_expiring(pair[0], pair[1], at_ms),
        };
    }
    ctx.db.changed(class::HASH, "hset", key);
    let Some(at_ms) = at_ms else { return Ok(()) };
    ctx.db.schedule_fields(key);
    ctx.db.event(class::HASH, "hexpire", key);
    let at = itoa::Buffer::new().format(at_ms).to_string();
    let head: [&[u8]; 4] = [b"HSETEX", key, b"PXAT", at.as_bytes()];
    add_effect(&mut ctx.effects, &head, 2, data);
    Ok(())
}

/// What is set and expires at once leaves nothing but removals.
fn set_and_expire(ctx: &mut Context<'_>, key: &[u8], data: &[&[u8]]) -> CommandResult {
    let mut effect: Vec<&[u8]> = vec![b"HDEL", key];
    let hash = ctx.db.hash_mut(key)?;
    let was_there = hash.is_some();
    if let Some(hash) = hash {
        let fields = data.iter().step_by(2);
        effect.extend(fields.filter(|field| hash.remove(field)));
    }
    if !was_there {
        ctx.db.event(class::NEW, "new", key);
    }
    for event in ["hset", "hexpire", "hexpired"] {
        ctx.db.event(class::HASH, event, key);
    }
    ctx.count_expired_fields(data.len() / 2);
    if effect.len() > 2 {
        ctx.effects.add(&effect);
        ctx.db.changed(0, "", key);
    }
    if ctx.db.remove_if_empty(key)? || !was_there {
        ctx.db.event(class::GENERIC, "del", key);
    }
    Ok(())
}
