//! MSETEX: stores several strings at once, with a condition and an expiry.

use super::expiration::Expiration;
use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Begin, Command, Find, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::recorder::class;

/// MSETEX numkeys key value [key value …] [NX | XX] [EX s | PX ms | EXAT s |
/// PXAT ms | KEEPTTL]
pub const COMMAND: Command = Command {
    name: "msetex",
    group: Group::String,
    since: "9.1.0",
    summary: "Stores strings under several keys, with a condition and an expiry for all.",
    complexity: "O(N) where N is the number of keys.",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
    acl: acl::STRING,
    keys: &[KeySpec {
        flags: &["OW", "update"],
        begin: Begin::Index(1),
        find: Find::Keynum {
            number_at: 0,
            first: 1,
            step: 2,
        },
        notes: "",
    }],
    args: &[
        Arg::integer("numkeys"),
        Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple(),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").after("EX"),
                Arg::integer("milliseconds").after("PX"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime).after("EXAT"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).after("PXAT"),
                Arg::word("keepttl", "KEEPTTL"),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let text = "invalid numkeys value or out of range";
    let count = args::integer_between(args[1], 1..=i64::from(i32::MAX), text)? as usize;
    let end = 2 + 2 * count;
    if end > args.len() {
        return Err(CommandError::Syntax);
    }
    let pairs = &args[2..end];
    let mut wanted = None;
    let mut expiration = Expiration::Unsaid;
    let mut at = end;
    while at < args.len() {
        let (word, next) = (args[at], args.get(at + 1).copied());
        let condition = [("NX", false), ("XX", true)]
            .into_iter()
            .find(|(name, _)| args::is(word, name));
        at += match condition {
            Some((_, there)) if wanted.is_none_or(|wanted| wanted == there) => {
                wanted = Some(there);
                1
            }
            Some(_) => return Err(CommandError::Syntax),
            None => expiration.take(word, next, "KEEPTTL")?,
        };
    }
    let expire_at_ms = expiration.at_ms(ctx.now_ms(), "msetex")?;
    if let Some(there) = wanted {
        for pair in pairs.chunks_exact(2) {
            if ctx.db.exists(pair[0])? != there {
                ctx.reply.integer(0);
                return Ok(());
            }
        }
    }
    let past = expire_at_ms.is_some_and(|at_ms| at_ms <= ctx.now_ms());
    if past && ctx.db.expiry_mode == ExpiryMode::Remove {
        remove_all(ctx, pairs)?;
    } else {
        let keep = expiration == Expiration::Word;
        store_all(ctx, &args[1..end], keep, expire_at_ms)?;
    }
    ctx.reply.integer(1);
    Ok(())
}

/// What is stored and expires at once leaves nothing but removals.
fn remove_all(ctx: &mut Context<'_>, pairs: &[&[u8]]) -> CommandResult {
    for pair in pairs.chunks_exact(2) {
        if !ctx.db.delete(pair[0])? {
            ctx.db.event(class::NEW, "new", pair[0]);
        }
        ctx.db.event(class::STRING, "set", pair[0]);
        ctx.db.event(class::GENERIC, "expire", pair[0]);
        let word = ctx.server.settings.expire_word();
        ctx.effects.add(&[word, pair[0]]);
        ctx.count_expired();
        ctx.db.changed(class::EXPIRED, "expired", pair[0]);
    }
    Ok(())
}

/// Stores all pairs; `args` are the number of keys and the pairs.
fn store_all(
    ctx: &mut Context<'_>,
    args: &[&[u8]],
    keep: bool,
    expire_at_ms: Option<i64>,
) -> CommandResult {
    for pair in args[1..].chunks_exact(2) {
        let expire_at_ms = match keep {
            true => ctx.db.expiry(pair[0])?.flatten(),
            false => expire_at_ms,
        };
        ctx.db.set_string(pair[0], pair[1], expire_at_ms)?;
        ctx.db.changed(class::STRING, "set", pair[0]);
        if expire_at_ms.is_some() && !keep {
            ctx.db.event(class::GENERIC, "expire", pair[0]);
        }
    }
    if let Some(at_ms) = expire_at_ms {
        let at = itoa::Buffer::new().format(at_ms).to_string();
        let mut effect: Vec<&[u8]> = vec![b"MSETEX"];
        effect.extend_from_slice(args);
        effect.extend_from_slice(&[b"PXAT", at.as_bytes()]);
        ctx.effects.add(&effect);
    }
    Ok(())
}
