//! CONFIG: the directives at run time.

use std::sync::atomic::Ordering;

use super::help;
use crate::acl::file::new_channels;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::{Config, ConfigError, DirectiveId, SetContext, Value, id, rewrite};
use crate::connection::session::Session;
use crate::keyspace::garbage::FREED;
use crate::logging;
use crate::oom;
use crate::runtime::start::{is_locale, worker_count};
use crate::runtime::{descriptors, keeping, recovery};
use crate::state::Server;

const BASE: Command = Command {
    group: Group::Server,
    since: "2.0.0",
    flags: flag::ADMIN | flag::LOADING | flag::NOSCRIPT | flag::STALE,
    locks: Locks::None,
    ..Command::BASE
};

/// CONFIG
pub const COMMAND: Command = Command {
    name: "config",
    summary: "Reads and changes the configuration.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    subcommands: &[&GET, &HELP, &RESETSTAT, &REWRITE, &SET],
    ..BASE
};

const GET: Command = Command {
    name: "config|get",
    summary: "Shows the directives whose names match the patterns.",
    complexity: "O(N) where N is the number of directives.",
    arity: -3,
    args: &[Arg::string("parameter").multiple()],
    run: get,
    ..BASE
};

const SET: Command = Command {
    name: "config|set",
    summary: "Changes directives, all of them or none.",
    complexity: "O(N) where N is the number of directives given.",
    arity: -4,
    args: &[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
    run: set,
    ..BASE
};

const RESETSTAT: Command = Command {
    name: "config|resetstat",
    summary: "Sets the counters of INFO to zero.",
    arity: 2,
    run: |ctx, _| {
        ctx.hand_over_counts();
        ctx.server.stats.reset();
        FREED.done.store(0, Ordering::Relaxed);
        ctx.server.scripting.scripts.lock().evicted = 0;
        ctx.server.eviction.reset();
        ctx.server.acl.log.reset_counts();
        if let Some(cluster) = &ctx.server.cluster {
            cluster.slot_stats.reset();
        }
        ctx.server.settings.reset_counts();
        let evicted = &ctx.server.client_memory.evicted;
        evicted.store(0, std::sync::atomic::Ordering::Relaxed);
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

const REWRITE: Command = Command {
    name: "config|rewrite",
    since: "2.8.0",
    summary: "Brings the configuration file up to the current values.",
    arity: 2,
    run: |ctx, _| rewrite_file(ctx, false),
    ..BASE
};

const HELP: Command = Command {
    name: "config|help",
    since: "5.0.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "CONFIG",
            &[
                "GET <pattern> [<pattern> ...]",
                "    Show the directives whose names match.",
                "SET <directive> <value> [<directive> <value> ...]",
                "    Change directives, all of them or none.",
                "RESETSTAT",
                "    Set the counters of INFO to zero.",
                "REWRITE",
                "    Bring the configuration file up to the current values.",
            ],
        )
    },
    ..BASE
};

fn get(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let found = ctx.server.config.read().get(&args[2..]);
    ctx.reply.map(found.len());
    for (name, value) in found {
        ctx.reply.bulk(name);
        ctx.reply.bulk(&value);
    }
    Ok(())
}

fn set(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = args[2..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let server = ctx.server;
    let mut config = server.config.write();
    let context = SetContext {
        protected_allowed: allowed(&config.string(id("enable-protected-configs")), ctx.session),
        loading: server.loading.load(std::sync::atomic::Ordering::Relaxed),
    };
    let mut next = config.clone();
    let changed = next
        .set_many(&pairs, context)
        .map_err(|error| match error {
            ConfigError::Loading => {
                CommandError::text("LOADING Redoubt is replaying the end of its log")
            }
            other => CommandError::err(other),
        })?;
    prepare(server, &config, &next, &changed)?;
    *config = next;
    server.settings.load(&config);
    if let Some(cluster) = &server.cluster {
        cluster.configure(&config);
    }
    apply(ctx, &config, &changed);
    drop(config);
    ctx.reply.ok();
    Ok(())
}

/// Whether a directive of the kind `no`, `yes`, `local` lets this client.
pub fn allowed(setting: &str, session: &Session) -> bool {
    match setting {
        "yes" => true,
        "local" => is_local(&session.client.address),
        _ => false,
    }
}

fn is_local(address: &str) -> bool {
    address.starts_with("127.") || address.starts_with("[::1]:") || address.starts_with('/')
}

/// What a change needs from the outside, before it is taken over.
fn prepare(
    server: &Server,
    current: &Config,
    next: &Config,
    changed: &[DirectiveId],
) -> CommandResult {
    let failed = |name: &str, reason: &dyn std::fmt::Display| {
        CommandError::err(format!(
            "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
        ))
    };
    let former = std::env::current_dir();
    if changed.contains(&id("dir")) {
        let dir = next.string(id("dir")).into_owned();
        let entered = std::env::set_current_dir(&dir);
        entered.map_err(|error| failed("dir", &error))?;
    }
    if changed.contains(&id("appendonly")) && next.bool(id("appendonly")) {
        keeping::claim(server).map_err(|error| {
            tracing::warn!("{error}");
            let _ = former.as_ref().map(std::env::set_current_dir);
            failed("appendonly", &"Unable to turn on AOF. Check server logs.")
        })?;
    }
    if changed.contains(&id("tls-port")) && next.integer(id("tls-port")) != 0 {
        return Err(failed("tls-port", &"this server has no TLS"));
    }
    if changed.contains(&id("maxclients")) {
        let asked = next.integer(id("maxclients"));
        let room = descriptors::make_room(asked, worker_count(next));
        if let Some(room) = room.filter(|room| room.clients < asked) {
            let reason = format!(
                "The operating system is not able to handle the specified number of clients, try with {}",
                room.clients
            );
            return Err(failed("maxclients", &reason));
        }
    }
    let locale = next.string(id("locale-collate"));
    if changed.contains(&id("locale-collate")) && !is_locale(&locale) {
        return Err(failed("locale-collate", &"Invalid locale name"));
    }
    let places = [
        ("port", "Unable to listen on this port. Check server logs."),
        ("bind", "Failed to bind to specified addresses."),
    ];
    let place = places.iter().find(|(name, _)| changed.contains(&id(name)));
    if let Some((name, reason)) = place {
        server.listening.exchange(current, next).map_err(|error| {
            tracing::warn!("{error}");
            let _ = former.as_ref().map(std::env::set_current_dir);
            failed(name, reason)
        })?;
    }
    let scores = ["oom-score-adj", "oom-score-adj-values"];
    if let Some(name) = scores.iter().find(|name| changed.contains(&id(name))) {
        oom::set(next).map_err(|error| {
            tracing::warn!("Unable to write oom_score_adj: {error}");
            let _ = former.map(std::env::set_current_dir);
            failed(
                name,
                &"Failed to set current oom_score_adj. Check server logs.",
            )
        })?;
    }
    Ok(())
}

fn apply(ctx: &Context<'_>, config: &Config, changed: &[DirectiveId]) {
    // What a pure cache keeps for its replicas is never synced.
    if let Some(storage) = ctx.server.storage() {
        storage.log.set_policy(recovery::sync_policy(config));
    }
    if changed.contains(&id("appendonly")) {
        let off = !config.bool(id("appendonly"));
        let setting = &ctx.server.settings.append_only_off;
        setting.store(off, Ordering::Relaxed);
        ctx.server.replication.log_bell.ring();
        if !off && let Err(error) = keeping::begin(ctx.server) {
            tracing::error!("log and tree can't be begun: {error}");
        }
    }
    if changed.contains(&id("requirepass")) {
        let password = config.render(id("requirepass"));
        ctx.server.acl.set_default_password(&password);
    }
    let lines = ["loglevel", "log-format", "log-timestamp-format"];
    if lines.iter().any(|name| changed.contains(&id(name))) {
        logging::change(config);
    }
    ctx.server.acl.set_new_channels(new_channels(config));
    ctx.server.client_memory.evict(ctx.server);
    let keys = config.integer(id("tracking-table-max-keys"));
    let tracking = &ctx.server.tracking;
    tracking.set_max_keys(ctx.server, keys);
    if changed.contains(&id("appendfsync")) {
        // Replies that waited for a sync need not any more.
        ctx.server.durable.alarm();
    }
}

/// All users, as the words behind `user` of configuration lines.
fn user_lines(ctx: &Context<'_>) -> Vec<Vec<Vec<u8>>> {
    let users = ctx.server.acl.users();
    let words = |line: Vec<u8>| {
        line.split(|&byte| byte == b' ')
            .skip(1)
            .map(<[u8]>::to_vec)
            .collect()
    };
    users.iter().map(|user| words(user.line())).collect()
}

/// Log and tree stay where they are when CONFIG SET changes `dir`, and the next
/// start has to find them.
fn name_directory_of_data(server: &Server, config: &mut Config) {
    let place = server.replication.directory.get();
    let Some(place) = place.filter(|_| server.storage().is_some()) else {
        return;
    };
    let dir = config.string(id("dir")).into_owned();
    if std::fs::canonicalize(&dir).is_ok_and(|dir| dir == *place) {
        return;
    }
    let place = place.to_string_lossy().into_owned();
    tracing::warn!(
        "The configuration file gets dir {place}, where log and tree are, not {dir}: a server started there would be without its data"
    );
    config.set_value(id("dir"), Value::Text(place.into_bytes()));
}

/// Writes the configuration file anew; with `all`, defaults too.
pub fn rewrite_file(ctx: &mut Context<'_>, all: bool) -> CommandResult {
    let Some(path) = &ctx.server.config_file else {
        return Err(CommandError::err(
            "The server is running without a config file",
        ));
    };
    let mut config = ctx.server.config.read().clone();
    config.file_only.users = match config.string(id("aclfile")).is_empty() {
        true => user_lines(ctx),
        false => Vec::new(),
    };
    name_directory_of_data(ctx.server, &mut config);
    rewrite::rewrite(&config, path, all)
        .map_err(|error| CommandError::err(format!("Rewriting config file: {error}")))?;
    ctx.reply.ok();
    Ok(())
}
