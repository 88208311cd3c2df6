//! FUNCTION FLUSH, HELP and LIST: there are no libraries to remove or to list.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::server::help;

/// FUNCTION
pub const COMMAND: Command = Command {
    name: "function",
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Container for commands about function libraries.",
    complexity: "Depends on subcommand.",
    arity: -2,
    locks: Locks::None,
    subcommands: &[&FLUSH, &HELP, &LIST],
    ..Command::BASE
};

/// FUNCTION FLUSH [ASYNC | SYNC]
const FLUSH: Command = Command {
    name: "function|flush",
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Removes all libraries.",
    complexity: "O(N) where N is the number of functions deleted",
    arity: -2,
    flags: flag::NOSCRIPT | flag::WRITE,
    acl: acl::SCRIPTING,
    locks: Locks::None,
    args: &[Arg::one_of(
        "flush-type",
        &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")],
    )
    .optional()],
    run: flush,
    ..Command::BASE
};

/// FUNCTION HELP
const HELP: Command = Command {
    name: "function|help",
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Explains the subcommands.",
    complexity: "O(1)",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    acl: acl::SCRIPTING,
    locks: Locks::None,
    run: |ctx, _| {
        help::reply(
            ctx,
            "FUNCTION",
            &[
                "FLUSH [ASYNC|SYNC]",
                "    Remove all libraries; there are never any.",
                "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
                "    List the libraries; there are never any.",
            ],
        )
    },
    ..Command::BASE
};

/// FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]
const LIST: Command = Command {
    name: "function|list",
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Lists the libraries.",
    complexity: "O(N) where N is the number of functions",
    arity: -2,
    flags: flag::NOSCRIPT,
    acl: acl::SCRIPTING,
    locks: Locks::None,
    args: &[
        Arg::string("library-name-pattern")
            .after("LIBRARYNAME")
            .optional(),
        Arg::word("withcode", "WITHCODE").optional(),
    ],
    run: list,
    ..Command::BASE
};

fn flush(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let known = args
        .get(2)
        .is_none_or(|word| args::is(word, "ASYNC") || args::is(word, "SYNC"));
    if args.len() > 3 || !known {
        return Err(CommandError::err(
            "FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    ctx.reply.ok();
    Ok(())
}

fn list(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    ctx.reply.array(0);
    Ok(())
}
