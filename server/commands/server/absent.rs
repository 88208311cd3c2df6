//! MODULE: known by name, so that clients
//! get the answer of a server without modules.

use super::help;
use crate::commands::command::{Arg, Command, Group, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

const BASE: Command = Command {
    group: Group::Server,
    since: "4.0.0",
    locks: Locks::None,
    ..Command::BASE
};

/// MODULE
pub const MODULE: Command = Command {
    name: "module",
    summary: "Would handle modules; there are none.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[&HELP, &LIST, &LOAD, &LOADEX, &UNLOAD],
    ..BASE
};

const LIST: Command = Command {
    name: "module|list",
    summary: "Lists the modules: none.",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT,
    run: |ctx, _| {
        ctx.reply.array(0);
        Ok(())
    },
    ..BASE
};

const LOAD: Command = Command {
    name: "module|load",
    summary: "Refuses to load a module.",
    arity: -3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
    args: &[
        Arg::string("path"),
        Arg::string("arg").optional().multiple(),
    ],
    run: no_modules,
    ..BASE
};

const LOADEX: Command = Command {
    name: "module|loadex",
    since: "7.0.0",
    ..LOAD
};

const UNLOAD: Command = Command {
    name: "module|unload",
    summary: "Refuses to unload a module.",
    arity: 3,
    args: &[Arg::string("name")],
    ..LOAD
};

const HELP: Command = Command {
    name: "module|help",
    since: "5.0.0",
    summary: "Explains the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "MODULE",
            &["LIST", "    List the modules; there are never any."],
        )
    },
    ..BASE
};

fn no_modules(_: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::err("this server has no modules"))
}
