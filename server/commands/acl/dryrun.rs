//! ACL DRYRUN: whether a user could run a command.

use super::ADMIN;
use crate::acl::check::check;
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::table;

/// ACL DRYRUN username command [arg …]
pub const COMMAND: Command = Command {
    name: "acl|dryrun",
    since: "7.0.0",
    summary: "Tells whether a user could run a command, without running it.",
    complexity: "O(1).",
    arity: -4,
    args: &[
        Arg::string("username"),
        Arg::string("command"),
        Arg::string("arg").optional().multiple(),
    ],
    run,
    ..ADMIN
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let shown = |at: usize| String::from_utf8_lossy(args[at]);
    let user = ctx.server.acl.user(args[2]);
    let user = user.ok_or_else(|| CommandError::err(format!("User '{}' not found", shown(2))))?;
    let args_of_it = &args[3..];
    // A container with a word that is no subcommand of it is no command.
    let found = table()
        .find_called(args_of_it)
        .filter(|found| found.command.subcommands.is_empty() || args_of_it.len() == 1)
        .ok_or_else(|| CommandError::err(format!("Command '{}' not found", shown(3))))?;
    if !found.command.arity_fits(args_of_it.len()) {
        return Err(CommandError::Arity(found.command.name.to_string()));
    }
    match check(&user, found, args_of_it, ctx.session.db) {
        Ok(()) => ctx.reply.ok(),
        Err(denial) => {
            let text = denial.explain(&user, found.command, args_of_it);
            ctx.reply.bulk(&text);
        }
    }
    Ok(())
}
