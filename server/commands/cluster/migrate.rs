//! MIGRATE: moves keys to another server: RESTORE there, then DEL here, with
//! the keys locked all the while. A key is deleted only once the target has
//! answered that it has it.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use redoubt_persistence::rdb::dump;

use super::migrate_links::Target;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Begin, Command, Find, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::effects::encode;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::keys::by_first_spec;
use crate::keyspace::codec;
use crate::keyspace::recorder::class;

/// MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE]
/// [AUTH password | AUTH2 username password] [KEYS key …]
pub const COMMAND: Command = Command {
    name: "migrate",
    group: Group::Generic,
    since: "2.6.0",
    summary: "Moves keys to another server.",
    complexity: "O(N) where N is the number of bytes of the keys' values, here and there.",
    arity: -6,
    flags: flag::WRITE | flag::MOVABLEKEYS,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    keys: &[
        KeySpec::one(3, &["RW", "access", "delete"]),
        KeySpec {
            flags: &["RW", "access", "delete", "incomplete"],
            begin: Begin::Keyword("KEYS", -2),
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 0,
            },
            notes: "",
        },
    ],
    find_keys: Some(|args, found| by_first_spec(keys_of(args), found)),
    args: &[
        Arg::string("host"),
        Arg::integer("port"),
        Arg::string("key-selector"),
        Arg::integer("destination-db"),
        Arg::integer("timeout"),
        Arg::word("copy", "COPY").optional().since("3.0.0"),
        Arg::word("replace", "REPLACE").optional().since("3.0.0"),
        Arg::string("keys").after("KEYS").optional().multiple(),
    ],
    run,
    ..Command::BASE
};

/// Where the keys are: the third argument, or if that is empty, those behind
/// KEYS, which may also be a name or a password behind AUTH.
fn keys_of(args: &[&[u8]]) -> Option<std::ops::Range<usize>> {
    let only = args.get(3)?;
    let mut at = 6;
    while at < args.len() {
        at += match () {
            () if is(args[at], "KEYS") && at + 1 < args.len() => {
                return only.is_empty().then_some(at + 1..args.len());
            }
            () if is(args[at], "AUTH") => 2,
            () if is(args[at], "AUTH2") => 3,
            () => 1,
        };
    }
    Some(3..4)
}

/// Timeout if none is given.
const DEFAULT_TIMEOUT_MS: u64 = 1000;

struct Options<'a> {
    copy: bool,
    replace: bool,
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    db: i64,
    timeout: Duration,
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        copy: false,
        replace: false,
        user: None,
        password: None,
        keys: vec![args[3]],
        db: 0,
        timeout: Duration::ZERO,
    };
    let mut at = 6;
    while at < args.len() {
        let left = args.len() - at - 1;
        match args[at] {
            word if is(word, "COPY") => options.copy = true,
            word if is(word, "REPLACE") => options.replace = true,
            word if is(word, "AUTH") && left >= 1 => {
                options.password = Some(args[at + 1]);
                at += 1;
            }
            word if is(word, "AUTH2") && left >= 2 => {
                options.user = Some(args[at + 1]);
                options.password = Some(args[at + 2]);
                at += 2;
            }
            word if is(word, "KEYS") => {
                if !args[3].is_empty() {
                    return Err(CommandError::err(
                        "When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                options.keys = args[at + 1..].to_vec();
                break;
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    let timeout_ms = args::integer(args[5])?;
    options.db = args::integer(args[4])?;
    let timeout_ms = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0);
    options.timeout = Duration::from_millis(timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS));
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args)?;
    let (payload, keys) = requests(ctx, &options)?;
    if keys.is_empty() {
        ctx.reply.simple("NOKEY");
        return Ok(());
    }
    let failed = |what: &str| {
        CommandError::text(format!("IOERR error or timeout {what} to target instance"))
    };
    let target = Target::new(args[1], args[2], options.user, options.password);
    let links = &ctx.server.migrate_links;
    let stream = links.take(&target, options.timeout).ok_or_else(|| {
        CommandError::text("IOERR error or timeout connecting to the client".to_owned())
    })?;
    (&stream)
        .write_all(&payload)
        .map_err(|_| failed("writing"))?;
    let mut replies = BufReader::new(&stream);
    let mut refused = None;
    let before = usize::from(options.password.is_some()) + 1;
    for _ in 0..before {
        let reply = read_reply(&mut replies).ok_or_else(|| failed("reading"))?;
        refused = refused.or(reply);
    }
    // Then they lie elsewhere in the target, if at all, and stay here as well.
    let unwelcome = refused.is_some();
    let mut lost = false;
    let mut moved: Vec<&[u8]> = Vec::new();
    for key in keys {
        match read_reply(&mut replies) {
            None => {
                lost = true;
                break;
            }
            Some(Some(error)) => refused = refused.or(Some(error)),
            Some(None) if unwelcome => {}
            Some(None) => moved.push(key),
        }
    }
    if !lost && !unwelcome {
        links.keep(target, stream);
    }
    if !options.copy {
        forget(ctx, &moved)?;
    }
    let error = match refused {
        Some(error) => CommandError::err(format!("Target instance replied with error: {error}")),
        None if lost => failed("reading"),
        None => {
            ctx.reply.ok();
            return Ok(());
        }
    };
    // Some keys may have moved, so this is no failure without effects.
    crate::connection::dispatch::reply_error(ctx.server, ctx.reply, &error);
    Ok(())
}

/// The requests for the target, and the keys that there are.
fn requests<'a>(
    ctx: &mut Context<'_>,
    options: &Options<'a>,
) -> Result<(Vec<u8>, Vec<&'a [u8]>), CommandError> {
    let mut payload = Vec::new();
    match (options.user, options.password) {
        (Some(user), Some(password)) => encode(&mut payload, &[b"AUTH", user, password]),
        (None, Some(password)) => encode(&mut payload, &[b"AUTH", password]),
        _ => {}
    }
    let db = options.db.to_string();
    encode(&mut payload, &[b"SELECT", db.as_bytes()]);
    let restore: &[u8] = match ctx.server.cluster.is_some() {
        true => b"RESTORE-ASKING",
        false => b"RESTORE",
    };
    let now_ms = ctx.now_ms();
    let mut keys = Vec::new();
    for key in &options.keys {
        let Some(entry) = ctx.db.lookup(key)? else {
            continue;
        };
        let ttl_ms = entry.expire_at_ms().map_or(0, |at| (at - now_ms).max(1));
        let mut value = Vec::new();
        codec::encode_payload(entry.value(), &mut value);
        let (value, ttl) = (dump::wrap(&value), ttl_ms.to_string());
        let mut words: Vec<&[u8]> = vec![restore, key, ttl.as_bytes(), &value];
        if options.replace {
            words.push(b"REPLACE");
        }
        encode(&mut payload, &words);
        keys.push(*key);
    }
    Ok((payload, keys))
}

/// Reads a reply of one line: `None` if none came, else the error that it is.
fn read_reply(reader: &mut impl BufRead) -> Option<Option<String>> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(read) if read > 0 && line.ends_with('\n') => {}
        _ => return None,
    }
    let line = line.trim_end();
    Some(line.strip_prefix('-').map(str::to_owned))
}

/// Deletes what the target has now; that is what enters the log.
fn forget(ctx: &mut Context<'_>, keys: &[&[u8]]) -> CommandResult {
    let mut words: Vec<&[u8]> = vec![b"DEL"];
    for key in keys {
        if ctx.db.delete(key)? {
            ctx.db.changed(class::GENERIC, "del", key);
            words.push(key);
        }
    }
    if words.len() > 1 {
        ctx.session.moved_keys = true;
        ctx.effects.add(&words);
    }
    Ok(())
}
