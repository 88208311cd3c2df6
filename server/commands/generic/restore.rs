//! RESTORE: a value made from the bytes of DUMP. The bytes are checked whole
//! before anything changes.

use redoubt_persistence::rdb::{Limits, decode_object_of_version, dump};

use super::object::is_lfu;
use crate::commands::args::{self, TimeUnit};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::codec;
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::entry::{Value, frequency};
use crate::keyspace::recorder::class;

/// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds]
/// [FREQ frequency]
pub const RESTORE: Command = Command {
    name: "restore",
    group: Group::Generic,
    since: "2.6.0",
    summary: "Makes a key of the bytes that DUMP gave.",
    complexity: "O(N) for N bytes, O(N*log(N)) for N members of a sorted set.",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    keys: &[KeySpec::one(1, &["OW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("ttl"),
        Arg::string("serialized-value"),
        Arg::word("replace", "REPLACE").optional().since("3.0.0"),
        Arg::word("absttl", "ABSTTL").optional().since("5.0.0"),
        Arg::integer("seconds")
            .after("IDLETIME")
            .optional()
            .since("5.0.0"),
        Arg::integer("frequency")
            .after("FREQ")
            .optional()
            .since("5.0.0"),
    ],
    prepare: Some(prepare),
    run,
    ..Command::BASE
};

/// RESTORE-ASKING: RESTORE into a slot that is being imported.
pub const RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    group: Group::Server,
    since: "3.0.0",
    summary: "Does what RESTORE does, in a slot that is being imported.",
    flags: flag::WRITE | flag::DENYOOM | flag::ASKING,
    ..RESTORE
};

/// A payload from so many bytes on is decoded before anything is locked.
const LONG_BYTES: usize = 16 << 10;

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<i64>,
    frequency: Option<i64>,
}

fn parse(words: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let next = words.as_slice().first().copied();
        let neither = options.idle_s.is_none() && options.frequency.is_none();
        match next {
            _ if args::is(word, "REPLACE") => options.replace = true,
            _ if args::is(word, "ABSTTL") => options.absolute = true,
            Some(number) if args::is(word, "IDLETIME") && neither => {
                let idle_s = args::integer(number)?;
                if idle_s < 0 {
                    return Err(CommandError::err("Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_s = Some(idle_s);
                words.next();
            }
            Some(number) if args::is(word, "FREQ") && neither => {
                let frequency = args::integer(number)?;
                if !(0..=255).contains(&frequency) {
                    return Err(CommandError::err(
                        "Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
                options.frequency = Some(frequency);
                words.next();
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(options)
}

fn prepare(args: &[&[u8]]) -> Option<Value> {
    let payload = args.get(3).filter(|payload| payload.len() >= LONG_BYTES)?;
    decode(payload).ok()
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, payload) = (args[1], args[3]);
    let options = parse(&args[4..])?;
    if !options.replace && ctx.db.exists(key)? {
        return Err(CommandError::text(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl = args::integer(args[2])?;
    if ttl < 0 {
        return Err(CommandError::err("Invalid TTL value, must be >= 0"));
    }
    let unit = match options.absolute {
        true => TimeUnit::UnixMillis,
        false => TimeUnit::Millis,
    };
    let at_ms = unit.to_unix_ms(ttl, ctx.now_ms()).unwrap_or(i64::MAX);
    let expire_at_ms = (ttl != 0).then_some(at_ms);
    let value = match ctx.prepared.take() {
        Some(value) => value,
        None => decode(payload)?,
    };

    let past = expire_at_ms.is_some_and(|at| at <= ctx.now_ms());
    if past && ctx.db.expiry_mode == ExpiryMode::Remove {
        if ctx.db.delete(key)? {
            let word = ctx.server.settings.server_del_word();
            ctx.effects.add(&[word, key]);
            ctx.db.changed(class::GENERIC, "del", key);
        }
        ctx.reply.ok();
        return Ok(());
    }
    ctx.db.set_value(key, value, expire_at_ms)?;
    ctx.db.changed(class::GENERIC, "restore", key);
    set_access(ctx, key, &options)?;
    let mut digits = itoa::Buffer::new();
    let at = digits.format(expire_at_ms.unwrap_or(0)).as_bytes();
    ctx.effects
        .add(&[b"RESTORE", key, at, payload, b"REPLACE", b"ABSTTL"]);
    ctx.session.moved_keys = true;
    ctx.reply.ok();
    Ok(())
}

fn decode(payload: &[u8]) -> Result<Value, CommandError> {
    let (object, version) = dump::unwrap_with_version(payload)
        .map_err(|_| CommandError::err("DUMP payload version or checksum are wrong"))?;
    decode_object_of_version(object, version, Limits::default())
        .map(codec::value_of)
        .map_err(|_| CommandError::err("Bad data format"))
}

/// Stamps the eviction clock as asked for, if the policy in force uses it.
fn set_access(ctx: &mut Context<'_>, key: &[u8], options: &Options) -> CommandResult {
    let now_s = ctx.now_ms() / 1000;
    let lfu = is_lfu(ctx.server);
    let access = match (options.idle_s, options.frequency) {
        (Some(idle_s), _) if !lfu => now_s.saturating_sub(idle_s),
        (_, Some(count)) if lfu => i64::from(frequency::of_count(count as u8, ctx.now_ms())),
        _ => return Ok(()),
    };
    if let Some(entry) = ctx.db.peek(key)? {
        entry.set_access((access & 0xff_ffff) as u32);
    }
    Ok(())
}
