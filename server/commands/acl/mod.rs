//! ACL: users and what they may do. What the rules mean is [`crate::acl`]'s.

mod cat;
mod dryrun;
mod file;
mod genpass;
mod list;
mod log;
mod setuser;

use super::command::{Command, Group, Locks, flag};
use super::context::Context;
use super::error::CommandError;
use super::server::help;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[&COMMAND];

/// What the subcommands have in common.
const BASE: Command = Command {
    group: Group::Server,
    since: "6.0.0",
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    locks: Locks::None,
    arity: 2,
    ..Command::BASE
};

/// [`BASE`], for administrators.
const ADMIN: Command = Command {
    flags: BASE.flags | flag::ADMIN,
    ..BASE
};

/// ACL
pub const COMMAND: Command = Command {
    name: "acl",
    summary: "Handles users and what they may do.",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: 0,
    subcommands: &[
        &cat::COMMAND,
        &setuser::DELUSER,
        &dryrun::COMMAND,
        &genpass::COMMAND,
        &list::GETUSER,
        &HELP,
        &list::LIST,
        &file::LOAD,
        &log::COMMAND,
        &file::SAVE,
        &setuser::SETUSER,
        &list::USERS,
        &list::WHOAMI,
    ],
    ..BASE
};

/// ACL HELP
const HELP: Command = Command {
    name: "acl|help",
    summary: "Explains the subcommands.",
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        help::reply(
            ctx,
            "ACL",
            &[
                "CAT [<category>]",
                "    List the categories of commands, or the commands of one.",
                "DELUSER <username> [<username> ...]",
                "    Remove users and close their connections.",
                "DRYRUN <username> <command> [<arg> ...]",
                "    Tell whether a user could run a command, without running it.",
                "GETUSER <username>",
                "    Show a user's rules.",
                "GENPASS [<bits>]",
                "    Make up a password of 256 random bits, or of as many as asked for.",
                "LIST",
                "    Show all users' rules as lines of a file.",
                "LOAD",
                "    Read the users from the ACL file again.",
                "LOG [<count> | RESET]",
                "    Show what was refused lately, or forget it.",
                "SAVE",
                "    Write the users to the ACL file.",
                "SETUSER <username> <rule> [<rule> ...]",
                "    Make a user, or change one.",
                "USERS",
                "    List the users' names.",
                "WHOAMI",
                "    Tell which user this connection is.",
            ],
        )
    },
    ..BASE
};

/// The error for more arguments than a subcommand takes.
fn too_many(args: &[&[u8]]) -> CommandError {
    let name = String::from_utf8_lossy(args[1]);
    CommandError::err(format!(
        "unknown subcommand or wrong number of arguments for '{name}'. Try ACL HELP."
    ))
}

/// Closes the connections of a user for which `wanted` holds; the one that
/// asks gets its reply first.
fn close_clients(
    ctx: &mut Context<'_>,
    wanted: impl Fn(&crate::connection::client::Client) -> bool,
) {
    let mut theirs = ctx.server.clients.all();
    theirs.retain(|client| wanted(client));
    crate::connection::parting::close(ctx.session, &theirs);
    for client in theirs {
        if client.id != ctx.session.client.id {
            ctx.server.clients.remove(client.id);
        }
    }
}
