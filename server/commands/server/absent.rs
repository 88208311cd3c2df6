//! MODULE, CLUSTER and what belongs to them: known by name, so that clients
//! get the answer of a server without modules and without a cluster.

use super::help;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
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

/// CLUSTER
pub const CLUSTER: Command = Command {
    name: "cluster",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Would handle the cluster.",
    complexity: "Depends on subcommand.",
    arity: -2,
    run: no_cluster,
    ..BASE
};

/// ASKING
pub const ASKING: Command = Command {
    name: "asking",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Tells that a redirection led here.",
    arity: 1,
    flags: flag::FAST,
    acl: acl::CONNECTION,
    run: no_cluster,
    ..BASE
};

/// READONLY
pub const READONLY: Command = Command {
    name: "readonly",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Lets a connection read from a replica in a cluster.",
    arity: 1,
    flags: flag::FAST | flag::LOADING | flag::STALE,
    acl: acl::CONNECTION,
    run: |ctx, _| {
        ctx.session.reads_here = true;
        ctx.reply.ok();
        Ok(())
    },
    ..BASE
};

/// READWRITE
pub const READWRITE: Command = Command {
    name: "readwrite",
    summary: "Takes READONLY back.",
    run: |ctx, _| {
        ctx.session.reads_here = false;
        ctx.reply.ok();
        Ok(())
    },
    ..READONLY
};

fn no_cluster(_: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::err(
        "This instance has cluster support disabled",
    ))
}
