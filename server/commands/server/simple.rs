//! TIME, LOLWUT and SHUTDOWN.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::connection::starting;
use crate::runtime::save;
use crate::runtime::shutdown::end_in_start;
use crate::scripting::busy::threshold;
use crate::shutdown::{self, Request};

const BASE: Command = Command {
    group: Group::Server,
    locks: Locks::None,
    ..Command::BASE
};

/// TIME
pub const TIME: Command = Command {
    name: "time",
    since: "2.6.0",
    summary: "Tells the server's time: Unix seconds, and microseconds of the second.",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    run: time,
    ..BASE
};

/// No command of a script is taken to last longer.
const LONG_FOR_A_COMMAND: Duration = Duration::from_millis(100);

/// A script sees the time of its start until it is busy, and has been for long
/// enough that it was not just one slow command: one that waits for the time to
/// pass ends.
fn time(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let started = Duration::from_millis(ctx.now_ms().max(0) as u64);
    let still = || threshold(ctx.server).max(LONG_FOR_A_COMMAND);
    let stands_still = ctx.session.in_script && clock.saturating_sub(started) < still();
    let now = match stands_still {
        true => started,
        false => clock,
    };
    ctx.reply.array(2);
    ctx.reply.bulk_integer(now.as_secs() as i64);
    ctx.reply.bulk_integer(i64::from(now.subsec_micros()));
    Ok(())
}

/// LOLWUT [VERSION version [arg …]]
pub const LOLWUT: Command = Command {
    name: "lolwut",
    since: "5.0.0",
    summary: "Draws something, and tells the version.",
    arity: -1,
    flags: flag::READONLY | flag::FAST,
    args: &[Arg::integer("version").after("VERSION").optional()],
    run: lolwut,
    ..BASE
};

fn lolwut(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if let [_, word, rest @ ..] = args
        && args::is(word, "version")
    {
        for number in rest {
            args::integer(number)?;
        }
    }
    let text = format!(
        "  |\"\"| |\"\"| |\"\"|\n  |  |_|  |_|  |\n  |     __     |\n  |    |  |    |\n ~~~~~~~~~~~~~~~~\n\nA keep with a moat, and the keys inside. Redoubt ver. {}\n",
        env!("CARGO_PKG_VERSION")
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [SAFE] [FAILOVER] [ABORT]
pub const SHUTDOWN: Command = Command {
    name: "shutdown",
    summary: "Makes everything durable and ends the server.",
    complexity: "O(N) where N is the number of changes that the tree has yet to take over.",
    arity: -1,
    flags: flag::ADMIN
        | flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::NO_MULTI
        | flag::ALLOW_BUSY,
    args: &[
        Arg::one_of(
            "save-selector",
            &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")],
        )
        .optional(),
        Arg::word("now", "NOW").optional().since("7.0.0"),
        Arg::word("force", "FORCE").optional().since("7.0.0"),
        Arg::word("safe", "SAFE").optional().since("9.0.0"),
        Arg::word("failover", "FAILOVER").optional().since("9.0.0"),
        Arg::word("abort", "ABORT").optional().since("7.0.0"),
    ],
    run: end_server,
    ..BASE
};

fn end_server(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (mut save, mut nosave, mut now, mut abort) = (false, false, false, false);
    let (mut force, mut other) = (false, false);
    for arg in &args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"now" => now = true,
            b"abort" => abort = true,
            b"force" => force = true,
            b"safe" | b"failover" => other = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || now || force || other)) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return match shutdown::abort(ctx.server) {
            true => {
                ctx.reply.ok();
                Ok(())
            }
            false => Err(CommandError::err("No shutdown in progress.")),
        };
    }
    if starting::is_on(ctx.server) {
        end_in_start(ctx.server);
    }
    let number = ctx.server.shutdown.ask(Request {
        clean: !nosave && !now,
        save: save || (!nosave && save::is_due_at_the_end(ctx.server)),
        force,
        now,
    });
    ctx.block(BlockRequest {
        keys: Vec::new(),
        args: None,
        timeout_ms: 0,
        on_timeout: TimeoutReply::Shutdown(number),
    });
    Ok(())
}
