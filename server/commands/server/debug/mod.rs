//! DEBUG: for tests and for people who look into the server.

mod digest;
mod keys;
mod populate;
mod protocol;
mod reload;
mod replicate;
mod storage;

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{config, help};
use crate::commands::args as arguments;
use crate::commands::cluster::cluster_of;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;
use crate::connection::session::Session;
use crate::number;
use crate::state::Server;

/// DEBUG subcommand [arg …]
pub const COMMAND: Command = Command {
    name: "debug",
    group: Group::Server,
    summary: "Helps to test and look into the server.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: flag::ADMIN | flag::LOADING | flag::NOSCRIPT | flag::STALE,
    locks: Locks::None,
    args: &[
        Arg::string("subcommand"),
        Arg::string("arg").optional().multiple(),
    ],
    run,
    ..Command::BASE
};

/// DEBUG CLUSTERLINK KILL.
fn close_links(ctx: &Context<'_>, ways: &[u8], id: &[u8]) -> CommandResult {
    let (to, from) = match ways.to_ascii_lowercase().as_slice() {
        b"to" => (true, false),
        b"from" => (false, true),
        b"all" => (true, true),
        _ => {
            let ways = String::from_utf8_lossy(ways);
            return Err(CommandError::err(format!("Unknown direction {ways}")));
        }
    };
    let id = String::from_utf8_lossy(id);
    let closed = cluster_of(ctx)?.order(|bus| bus.close_links(&id, to, from));
    closed.map_err(CommandError::err)
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Take a fresh replication id.",
    "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
    "    Whether a lost packet's connection is closed.",
    "CLUSTERLINK KILL <TO|FROM|ALL> <node-id>",
    "    Close the connections to or from a node.",
    "DIGEST",
    "    Show a hash of the whole dataset.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show a hash of each key's value.",
    "DROP-CLUSTER-PACKET-FILTER <type>",
    "    Lose packets of this type that come in on the bus; -1 is none.",
    "ERROR <text>",
    "    Reply this error.",
    "HTSTATS <db> [full]",
    "    Tell how full the tables of a database are.",
    "HTSTATS-KEY <key> [full]",
    "    The same of one value.",
    "LISTPACK <key>",
    "    Check that a value is packed.",
    "LOADAOF",
    "    Encode every value as it is stored, and read it back.",
    "LOG <text>",
    "    Write a line to the server's log.",
    "OBJECT <key>",
    "    Tell how a value is held.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make string keys named <prefix>:<number>.",
    "PROTOCOL <type>",
    "    Reply an example of this type.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted, without effect.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Write a snapshot file, and load it in place of all keys.",
    "REPLICATE <command> [<arg> ...]",
    "    Put a command into the stream to the replicas, without running it; only",
    "    where nothing is kept.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stop or go on removing keys that nobody asks for.",
    "SLEEP <seconds>",
    "    Hold up this connection's worker, and what keeps replicas patient.",
    "STORAGE <FAIL-SYNCS|FAIL-WRITES|NO-SPACE|PAUSE-TREE|CLEAR>",
    "    Have the log's disk fail, or the tree's writer rest, until CLEAR.",
];

/// Whether the configuration lets a session use DEBUG.
pub fn check(server: &Server, session: &Session) -> CommandResult {
    let config = server.config.read();
    match config::allowed(&config.string(id("enable-debug-command")), session) {
        true => Ok(()),
        false => Err(CommandError::err(
            "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )),
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    check(ctx.server, ctx.session)?;
    let subcommand = args[1].to_ascii_lowercase();
    match (subcommand.as_slice(), &args[2..]) {
        (b"help", []) => help::reply(ctx, "DEBUG", HELP),
        (b"digest", []) => digest::dataset(ctx),
        (b"digest-value", keys) => digest::values(ctx, keys),
        (b"object", [key, ..]) => keys::object(ctx, key),
        (b"reload", options) => reload::run(ctx, options),
        (b"populate", words @ [_, ..]) => populate::run(ctx, words),
        (b"loadaof", _) => keys::reload(ctx),
        (b"listpack", [key]) => keys::listpack(ctx, key),
        (b"sdslen", [key]) => keys::string_lengths(ctx, key),
        (b"htstats", [db, ..]) => keys::tables(ctx, db),
        (b"htstats-key", [key, ..]) => keys::table_of(ctx, key),
        (b"storage", [what]) => storage::run(ctx, what),
        (b"replicate", words @ [_, ..]) => replicate::run(ctx, words),
        (b"protocol", [kind]) => protocol::example(ctx, kind),
        (b"config-rewrite-force-all", []) => super::config::rewrite_file(ctx, true),
        (b"error", [text]) => {
            let text: String = String::from_utf8_lossy(text)
                .chars()
                .map(|c| if c == '\r' || c == '\n' { ' ' } else { c })
                .collect();
            Err(CommandError::text(text))
        }
        _ => simple(ctx, &subcommand, args),
    }
}

/// The subcommands that reply OK.
fn simple(ctx: &mut Context<'_>, subcommand: &[u8], args: &[&[u8]]) -> CommandResult {
    match (subcommand, &args[2..]) {
        (b"sleep", [seconds]) => {
            let seconds = number::parse_f64(seconds).unwrap_or(0.0);
            if let Ok(time) = Duration::try_from_secs_f64(seconds) {
                let time = time.min(Duration::from_secs(3600));
                let replication = &ctx.server.replication;
                let until_ms = replication.now_ms() + time.as_millis() as u64;
                replication
                    .silent_until_ms
                    .store(until_ms, Ordering::Relaxed);
                std::thread::sleep(time);
            }
        }
        (b"set-active-expire", [on]) => {
            let on = arguments::integer(on).unwrap_or(0) != 0;
            ctx.server
                .settings
                .active_expire
                .store(on, Ordering::Relaxed);
        }
        (b"change-repl-id", []) => {
            let end = ctx.server.log().map_or(0, |log| log.end().0);
            let end = ctx.server.replication.stream_offset(end);
            let renamed = ctx.server.replication.change_identity(|identity| {
                identity.history.rename(crate::replication::new_id(), end)
            });
            renamed.map_err(|error| CommandError::Storage(error.to_string()))?;
        }
        (b"drop-cluster-packet-filter", [kind]) => {
            let kind = u16::try_from(arguments::integer(kind)?).ok();
            cluster_of(ctx)?.order(|bus| bus.lose_packets(kind));
        }
        (b"close-cluster-link-on-packet-drop", [on]) => {
            let on = arguments::integer(on)? != 0;
            cluster_of(ctx)?.order(|bus| bus.close_on_loss(on));
        }
        (b"clusterlink", [kill, ways, id]) if kill.eq_ignore_ascii_case(b"kill") => {
            close_links(ctx, ways, id)?;
        }
        (b"log", [text]) => tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(text)),
        (b"jmap", []) => {}
        (b"set-disable-deny-scripts", [on]) => {
            let any = &ctx.server.scripting.any_command;
            any.store(*on != b"0", Ordering::Relaxed);
        }
        (
            b"quicklist-packed-threshold"
            | b"dict-resizing"
            | b"pause-cron"
            | b"client-enforce-reply-list"
            | b"delay-rdb-client-free-seconds"
            | b"oom-score"
            | b"stringmatch-len"
            | b"replybuffer"
            | b"hexpire",
            [_, ..],
        ) => {}
        _ => {
            let name = String::from_utf8_lossy(args[1]);
            return Err(CommandError::err(format!(
                "unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
            )));
        }
    }
    ctx.reply.ok();
    Ok(())
}
