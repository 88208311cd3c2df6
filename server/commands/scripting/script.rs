//! SCRIPT: the scripts that the server knows.

use std::sync::atomic::Ordering;

use super::eval::NO_SCRIPT;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::server::help;
use crate::scripting::cache::{parse_sha, sha_of};
use crate::scripting::engine::Engine;

/// SCRIPT
pub const COMMAND: Command = Command {
    name: "script",
    since: "2.6.0",
    summary: "Container for commands about scripts.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    acl: 0,
    subcommands: &[&DEBUG, &EXISTS, &FLUSH, &HELP, &KILL, &LOAD, &SHOW],
    ..BASE
};

const BASE: Command = Command {
    group: Group::Scripting,
    since: "2.6.0",
    flags: flag::NOSCRIPT,
    acl: acl::SCRIPTING,
    locks: Locks::None,
    ..Command::BASE
};

const DEBUG: Command = Command {
    name: "script|debug",
    since: "3.2.0",
    summary: "Sets the debug mode of scripts; there is no debugger.",
    arity: -3,
    args: &[Arg::one_of(
        "mode",
        &[
            Arg::word("yes", "YES"),
            Arg::word("sync", "SYNC"),
            Arg::word("no", "NO"),
        ],
    )],
    run: |ctx, args| {
        if args::is(args[2], "no") {
            ctx.reply.ok();
            return Ok(());
        }
        if args::is(args[2], "yes") || args::is(args[2], "sync") {
            return Err(CommandError::err("There is no script debugger"));
        }
        Err(CommandError::err("Use SCRIPT DEBUG YES/SYNC/NO"))
    },
    ..BASE
};

const EXISTS: Command = Command {
    name: "script|exists",
    summary: "Tells which scripts the server knows.",
    complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
    arity: -3,
    flags: flag::NOSCRIPT | flag::STALE,
    args: &[Arg::string("sha1").multiple()],
    run: |ctx, args| {
        let scripts = ctx.server.scripting.scripts.lock();
        ctx.reply.array(args.len() - 2);
        for sha in &args[2..] {
            let known = parse_sha(sha).is_some_and(|sha| scripts.get(&sha).is_some());
            ctx.reply.integer(i64::from(known));
        }
        Ok(())
    },
    ..BASE
};

const FLUSH: Command = Command {
    name: "script|flush",
    summary: "Forgets all scripts.",
    complexity: "O(N) with N being the number of scripts in cache",
    arity: -2,
    flags: flag::NOSCRIPT | flag::STALE,
    args: &[Arg::one_of(
        "flush-type",
        &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")],
    )
    .optional()
    .since("6.2.0")],
    run: flush,
    ..BASE
};

const HELP: Command = Command {
    name: "script|help",
    since: "5.0.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "SCRIPT",
            &[
                "DEBUG (YES|SYNC|NO)",
                "    Set the debug mode of scripts; there is no debugger.",
                "EXISTS <sha1> [<sha1> ...]",
                "    Tell which of these scripts the server knows.",
                "FLUSH [ASYNC|SYNC]",
                "    Forget all scripts.",
                "KILL",
                "    End the script that is running, if it has not written yet.",
                "LOAD <script>",
                "    Make a script known without running it.",
                "SHOW <sha1>",
                "    Show the text of a script.",
            ],
        )
    },
    ..BASE
};

const KILL: Command = Command {
    name: "script|kill",
    summary: "Ends a script that is running.",
    arity: 2,
    flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
    run: |ctx, _| {
        ctx.server.scripting.running.kill(ctx.server, true)?;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

const LOAD: Command = Command {
    name: "script|load",
    summary: "Makes a script known without running it.",
    complexity: "O(N) with N being the length in bytes of the script body.",
    arity: 3,
    flags: flag::NOSCRIPT | flag::STALE,
    args: &[Arg::string("script")],
    run: load,
    ..BASE
};

const SHOW: Command = Command {
    name: "script|show",
    since: "8.0.0",
    summary: "Shows the text of a script.",
    arity: 3,
    flags: flag::NOSCRIPT | flag::STALE,
    args: &[Arg::string("sha1")],
    run: |ctx, args| {
        let scripts = ctx.server.scripting.scripts.lock();
        let script = parse_sha(args[2]).and_then(|sha| scripts.get(&sha));
        let script = script.ok_or_else(|| CommandError::text(NO_SCRIPT))?;
        ctx.reply.bulk(&script.body);
        Ok(())
    },
    ..BASE
};

fn flush(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let known = |word: &&[u8]| args::is(word, "ASYNC") || args::is(word, "SYNC");
    if args.len() > 3 || !args[2..].iter().all(known) {
        return Err(CommandError::err(
            "SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    let scripting = &ctx.server.scripting;
    scripting.scripts.lock().flush();
    scripting.flushes.fetch_add(1, Ordering::Relaxed);
    scripting.lua_bytes.store(0, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}

fn load(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let scripting = &ctx.server.scripting;
    let mut engine = Engine::take(scripting)?;
    let sha = sha_of(args[2]);
    let loaded = engine.add_script(&scripting.scripts, sha, args[2], true);
    engine.give_back(scripting);
    loaded?;
    ctx.reply.bulk(&sha);
    Ok(())
}
