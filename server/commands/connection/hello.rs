//! HELLO: chooses the protocol, logs in, names the connection; and tells who
//! the server is.

use std::sync::atomic::Ordering;

use super::client_settings::check_name;
use super::login::log_in;
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;
use crate::connection::gate;
use crate::resp::Protocol;
use crate::state::{REDIS_VERSION, VALKEY_VERSION};

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
pub const COMMAND: Command = Command {
    name: "hello",
    group: Group::Connection,
    since: "6.0.0",
    summary: "Chooses the protocol, and tells who the server is.",
    arity: -1,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::NO_AUTH
        | flag::ALLOW_BUSY,
    acl: acl::CONNECTION,
    locks: Locks::None,
    args: &[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("auth", &[Arg::string("username"), Arg::string("password")])
                .after("AUTH")
                .optional(),
            Arg::string("clientname").after("SETNAME").optional(),
        ],
    )
    .optional()],
    run,
    ..Command::BASE
};

const LOGIN_FIRST: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";

#[derive(Default)]
struct Options<'a> {
    protocol: Option<i64>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn parse<'a>(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options::default();
    if let Some(version) = args.get(1) {
        let text = "Protocol version is not an integer or out of range";
        let version = args::integer_between(version, i64::MIN..=i64::MAX, text)?;
        if !(2..=3).contains(&version) {
            return Err(CommandError::text("NOPROTO unsupported protocol version"));
        }
        options.protocol = Some(version);
    }
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - at - 1;
        if is(args[at], "AUTH") && more >= 2 {
            options.login = Some((args[at + 1], args[at + 2]));
            at += 3;
        } else if is(args[at], "SETNAME") && more >= 1 {
            check_name(args[at + 1])?;
            options.name = Some(args[at + 1]);
            at += 2;
        } else {
            let word = String::from_utf8_lossy(args[at]);
            return Err(CommandError::err(format!(
                "Syntax error in HELLO option '{word}'"
            )));
        }
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args)?;
    if let Some((user, password)) = options.login {
        log_in(ctx.server, ctx.session, args[0], user, password)?;
    }
    if !ctx.session.authenticated && gate::password_needed(ctx.server) {
        return Err(CommandError::text(LOGIN_FIRST));
    }
    let client = ctx.session.client.clone();
    if let Some(name) = options.name {
        client.info.lock().name = name.to_vec();
    }
    if let Some(version) = options.protocol {
        client.protocol.store(version as u8, Ordering::Relaxed);
        ctx.reply.protocol = client.protocol();
    }
    let config = ctx.server.config.read();
    let zone = config.string(id("availability-zone"));
    let version = if ctx.reply.protocol == Protocol::Resp3 {
        3
    } else {
        2
    };
    let mode: &[u8] = if config.bool(id("cluster-enabled")) {
        b"cluster"
    } else {
        b"standalone"
    };
    ctx.reply.map(if zone.is_empty() { 7 } else { 8 });
    let mut text = |name: &[u8], value: &[u8]| {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    };
    // Some clients do without what a server can that doesn't say it is Redis.
    let (name, version_of_it): (&[u8], _) = match config.bool(id("extended-redis-compatibility")) {
        true => (b"redis", REDIS_VERSION),
        false => (b"redoubt", VALKEY_VERSION),
    };
    text(b"server", name);
    text(b"version", version_of_it.as_bytes());
    ctx.reply.bulk(b"proto");
    ctx.reply.integer(version);
    ctx.reply.bulk(b"id");
    ctx.reply.integer(client.id as i64);
    let mut text = |name: &[u8], value: &[u8]| {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    };
    text(b"mode", mode);
    let role: &[u8] = match ctx.server.replication.is_replica() {
        true => b"replica",
        false => b"master",
    };
    text(b"role", role);
    ctx.reply.bulk(b"modules");
    ctx.reply.array(0);
    if !zone.is_empty() {
        ctx.reply.bulk(b"availability_zone");
        ctx.reply.bulk(zone.as_bytes());
    }
    Ok(())
}
