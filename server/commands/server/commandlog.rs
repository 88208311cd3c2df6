//! SLOWLOG and COMMANDLOG: commands that took long, or whose request or reply
//! was large.

use super::help;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::state::Server;
use crate::stats::CommandLog;

const BASE: Command = Command {
    group: Group::Server,
    since: "2.2.12",
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    locks: Locks::None,
    ..Command::BASE
};

const CONTAINER: Command = Command {
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    ..BASE
};

const HELP: Command = Command {
    since: "6.2.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    ..BASE
};

/// SLOWLOG
pub const SLOWLOG: Command = Command {
    name: "slowlog",
    summary: "Handles the log of slow commands.",
    subcommands: &[&SLOWLOG_GET, &SLOWLOG_HELP, &SLOWLOG_LEN, &SLOWLOG_RESET],
    ..CONTAINER
};

const SLOWLOG_GET: Command = Command {
    name: "slowlog|get",
    summary: "Shows the latest slow commands.",
    complexity: "O(N) where N is the number of entries shown.",
    arity: -2,
    args: &[Arg::integer("count").optional()],
    run: |ctx, args| match args {
        [_, _] => entries(ctx, &ctx.server.stats.slow, Some(10)),
        [_, _, count] => {
            let count = count_of(count)?;
            entries(ctx, &ctx.server.stats.slow, count)
        }
        _ => Err(CommandError::err(format!(
            "unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
            String::from_utf8_lossy(args[1])
        ))),
    },
    ..BASE
};

const SLOWLOG_LEN: Command = Command {
    name: "slowlog|len",
    summary: "Counts the entries of the log of slow commands.",
    arity: 2,
    run: |ctx, _| length(ctx, &ctx.server.stats.slow),
    ..BASE
};

const SLOWLOG_RESET: Command = Command {
    name: "slowlog|reset",
    summary: "Empties the log of slow commands.",
    complexity: "O(N) where N is the number of entries.",
    arity: 2,
    run: |ctx, _| reset(ctx, &ctx.server.stats.slow),
    ..BASE
};

const SLOWLOG_HELP: Command = Command {
    name: "slowlog|help",
    run: |ctx, _| {
        help::reply(
            ctx,
            "SLOWLOG",
            &[
                "GET [<count>]",
                "    Show the latest entries (default: 10, -1: all), each with its id,",
                "    Unix time, microseconds, arguments, client address and client name.",
                "LEN",
                "    Count the entries.",
                "RESET",
                "    Empty the log.",
            ],
        )
    },
    ..HELP
};

/// COMMANDLOG
pub const COMMANDLOG: Command = Command {
    name: "commandlog",
    since: "8.1.0",
    summary: "Handles the logs of slow commands, large requests and large replies.",
    subcommands: &[&GET, &COMMANDLOG_HELP, &LEN, &RESET],
    ..CONTAINER
};

const GET: Command = Command {
    name: "commandlog|get",
    since: "8.1.0",
    summary: "Shows the latest entries of one log.",
    complexity: "O(N) where N is the number of entries shown.",
    arity: 4,
    args: &[Arg::integer("count"), Arg::string("type")],
    run: |ctx, args| {
        let count = count_of(args[2])?;
        let log = log_of(ctx.server, args[3])?;
        entries(ctx, log, count)
    },
    ..BASE
};

const LEN: Command = Command {
    name: "commandlog|len",
    since: "8.1.0",
    summary: "Counts the entries of one log.",
    arity: 3,
    args: &[Arg::string("type")],
    run: |ctx, args| length(ctx, log_of(ctx.server, args[2])?),
    ..BASE
};

const RESET: Command = Command {
    name: "commandlog|reset",
    since: "8.1.0",
    summary: "Empties one log.",
    complexity: "O(N) where N is the number of entries.",
    arity: 3,
    args: &[Arg::string("type")],
    run: |ctx, args| reset(ctx, log_of(ctx.server, args[2])?),
    ..BASE
};

const COMMANDLOG_HELP: Command = Command {
    name: "commandlog|help",
    since: "8.1.0",
    run: |ctx, _| {
        help::reply(
            ctx,
            "COMMANDLOG",
            &[
                "GET <count> <type>",
                "    Show the latest entries of a log (-1: all), each with its id, Unix time,",
                "    microseconds or bytes, arguments, client address and client name.",
                "LEN <type>",
                "    Count the entries of a log.",
                "RESET <type>",
                "    Empty a log.",
            ],
        )
    },
    ..HELP
};

/// A count of entries; None means all.
fn count_of(arg: &[u8]) -> Result<Option<usize>, CommandError> {
    const TEXT: &str = "count should be greater than or equal to -1";
    let count = args::integer_between(arg, -1..=i64::MAX, TEXT)?;
    Ok(usize::try_from(count).ok())
}

fn log_of(server: &'static Server, kind: &[u8]) -> Result<&'static CommandLog, CommandError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"slow" => Ok(&server.stats.slow),
        b"large-request" => Ok(&server.stats.large_requests),
        b"large-reply" => Ok(&server.stats.large_replies),
        _ => Err(CommandError::err(
            "type should be one of the following: slow, large-request, large-reply",
        )),
    }
}

fn entries(ctx: &mut Context<'_>, log: &CommandLog, count: Option<usize>) -> CommandResult {
    let entries = log.entries.lock();
    let shown = entries.len().min(count.unwrap_or(usize::MAX));
    ctx.reply.array(shown);
    for entry in entries.iter().take(shown) {
        ctx.reply.array(6);
        ctx.reply.integer(entry.id as i64);
        ctx.reply.integer(entry.at_s);
        ctx.reply.integer(entry.amount as i64);
        ctx.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| ctx.reply.bulk(arg));
        ctx.reply.bulk(entry.address.as_bytes());
        ctx.reply.bulk(&entry.name);
    }
    Ok(())
}

fn length(ctx: &mut Context<'_>, log: &CommandLog) -> CommandResult {
    ctx.reply.integer(log.entries.lock().len() as i64);
    Ok(())
}

fn reset(ctx: &mut Context<'_>, log: &CommandLog) -> CommandResult {
    log.entries.lock().clear();
    ctx.reply.ok();
    Ok(())
}
