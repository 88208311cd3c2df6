//! FUNCTION: libraries of functions. They are changed under all stripes, so
//! that a checkpoint finds them as of its offset of the log.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::server::help;
use crate::glob::{Case, matches};
use crate::scripting::engine::Engine;
use crate::scripting::library::{self, Library};

/// FUNCTION
pub const COMMAND: Command = Command {
    name: "function",
    summary: "Container for commands about function libraries.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    acl: 0,
    subcommands: &[
        &DELETE,
        &super::function_dump::DUMP,
        &FLUSH,
        &HELP,
        &KILL,
        &LIST,
        &LOAD,
        &super::function_dump::RESTORE,
        &STATS,
    ],
    ..BASE
};

/// What the subcommands share.
pub const BASE: Command = Command {
    group: Group::Scripting,
    since: "7.0.0",
    flags: flag::NOSCRIPT,
    acl: acl::SCRIPTING,
    locks: Locks::None,
    ..Command::BASE
};

const DELETE: Command = Command {
    name: "function|delete",
    summary: "Removes a library.",
    arity: 3,
    flags: flag::NOSCRIPT | flag::WRITE,
    locks: Locks::All,
    args: &[Arg::string("library-name")],
    run: |ctx, args| {
        let name = String::from_utf8_lossy(args[2]);
        if !ctx.server.scripting.libraries.write().remove(&name) {
            return Err(CommandError::err("Library not found"));
        }
        ctx.db.recorder.dirty += 1;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

const FLUSH: Command = Command {
    name: "function|flush",
    summary: "Removes all libraries.",
    complexity: "O(N) where N is the number of functions deleted",
    arity: -2,
    flags: flag::NOSCRIPT | flag::WRITE,
    locks: Locks::All,
    args: &[Arg::one_of(
        "flush-type",
        &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")],
    )
    .optional()],
    run: flush,
    ..BASE
};

const HELP: Command = Command {
    name: "function|help",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "FUNCTION",
            &[
                "DELETE <library-name>",
                "    Remove a library.",
                "DUMP",
                "    Give all libraries in a form for RESTORE.",
                "FLUSH [ASYNC|SYNC]",
                "    Remove all libraries.",
                "KILL",
                "    End the function that is running, if it has not written yet.",
                "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
                "    List libraries with their functions.",
                "LOAD [REPLACE] <code>",
                "    Add a library.",
                "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
                "    Add the libraries that DUMP gave.",
                "STATS",
                "    Tell which function is running, and how many there are.",
            ],
        )
    },
    ..BASE
};

const KILL: Command = Command {
    name: "function|kill",
    summary: "Ends a function that is running.",
    arity: 2,
    flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
    run: |ctx, _| {
        ctx.server.scripting.running.kill(ctx.server, false)?;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

const LIST: Command = Command {
    name: "function|list",
    summary: "Lists the libraries.",
    complexity: "O(N) where N is the number of functions",
    arity: -2,
    args: &[
        Arg::string("library-name-pattern")
            .after("LIBRARYNAME")
            .optional(),
        Arg::word("withcode", "WITHCODE").optional(),
    ],
    run: list,
    ..BASE
};

const LOAD: Command = Command {
    name: "function|load",
    summary: "Adds a library.",
    complexity: "O(1) (considering compilation time is redundant)",
    arity: -3,
    flags: flag::NOSCRIPT | flag::WRITE | flag::DENYOOM,
    locks: Locks::All,
    args: &[
        Arg::word("replace", "REPLACE").optional(),
        Arg::string("function-code"),
    ],
    run: load,
    ..BASE
};

const STATS: Command = Command {
    name: "function|stats",
    summary: "Tells which function is running, and how many there are.",
    arity: 2,
    flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
    run: stats,
    ..BASE
};

/// What a subcommand answers to arguments that it does not take.
pub fn wrong_arguments(subcommand: &[u8]) -> CommandError {
    CommandError::err(format!(
        "unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.",
        String::from_utf8_lossy(subcommand)
    ))
}

fn flush(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len() > 3 {
        return Err(wrong_arguments(args[1]));
    }
    let known = |word: &&[u8]| args::is(word, "ASYNC") || args::is(word, "SYNC");
    if !args[2..].iter().all(known) {
        return Err(CommandError::err(
            "FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    *ctx.server.scripting.libraries.write() = Default::default();
    ctx.db.recorder.dirty += 1;
    ctx.reply.ok();
    Ok(())
}

fn load(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (mut replace, mut code) = (false, None);
    for (index, arg) in args.iter().enumerate().skip(2) {
        if index == args.len() - 1 {
            code = Some(*arg);
        } else if args::is(arg, "replace") {
            replace = true;
        } else {
            return Err(CommandError::err(format!(
                "Unknown option given: {}",
                String::from_utf8_lossy(arg)
            )));
        }
    }
    let code = code.ok_or_else(|| CommandError::err("Function code is missing"))?;
    let scripting = &ctx.server.scripting;
    let name = library::name_of(code)?;
    if !replace && scripting.libraries.read().has(&name) {
        // Before the text runs: it would be for nothing.
        return Err(library::already_exists(&name));
    }
    let mut engine = Engine::take(scripting)?;
    let in_time = !ctx.session.replaying;
    engine.prune(&scripting.libraries.read());
    let loaded = Library::load(&mut engine, code, in_time);
    engine.give_back(scripting);
    scripting.libraries.write().add(loaded?, replace)?;
    ctx.db.recorder.dirty += 1;
    ctx.reply.bulk(name.as_bytes());
    Ok(())
}

fn list(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (mut pattern, mut with_code) = (None, false);
    let mut words = args[2..].iter();
    while let Some(word) = words.next() {
        if !with_code && args::is(word, "withcode") {
            with_code = true;
        } else if pattern.is_none() && args::is(word, "libraryname") {
            let given = words.next();
            let text = "library name argument was not given";
            pattern = Some(
                given
                    .ok_or_else(|| CommandError::err(text))?
                    .to_ascii_lowercase(),
            );
        } else {
            return Err(CommandError::err(format!(
                "Unknown argument {}",
                String::from_utf8_lossy(word)
            )));
        }
    }
    let libraries = ctx.server.scripting.libraries.read();
    let fits = |library: &&std::sync::Arc<Library>| {
        let name = library.name.to_ascii_lowercase();
        pattern
            .as_ref()
            .is_none_or(|pattern| matches(pattern, name.as_bytes(), Case::Sensitive))
    };
    ctx.reply.array(libraries.all().filter(fits).count());
    for library in libraries.all().filter(fits) {
        describe(ctx, library, with_code);
    }
    Ok(())
}

fn describe(ctx: &mut Context<'_>, library: &Library, with_code: bool) {
    let reply = &mut ctx.reply;
    reply.map(3 + usize::from(with_code));
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(function.name.as_bytes());
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.names().count());
        function.flags.names().for_each(|name| reply.simple(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn stats(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let scripting = &ctx.server.scripting;
    if let Some(error) = scripting.running.is_blocked_by_eval(ctx.server) {
        return Err(error);
    }
    let reply = &mut ctx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match scripting.running.first() {
        None => reply.null(),
        Some(script) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(script.name.as_bytes());
            reply.bulk(b"command");
            reply.array(script.command.len());
            script.command.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.integer(script.started.elapsed().as_millis() as i64);
        }
    }
    let (libraries, functions) = scripting.libraries.read().counts();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries as i64);
    reply.bulk(b"functions_count");
    reply.integer(functions as i64);
    Ok(())
}
