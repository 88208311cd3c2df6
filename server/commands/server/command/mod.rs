//! COMMAND: what commands there are; all of it follows from the table.

mod describe;
mod docs;
mod getkeys;

use super::help;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::table;
use crate::glob::{self, Case};

/// What all of COMMAND's subcommands share.
const BASE: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    flags: flag::LOADING | flag::STALE,
    acl: acl::CONNECTION,
    locks: Locks::None,
    ..Command::BASE
};

/// COMMAND
pub const COMMAND: Command = Command {
    name: "command",
    summary: "Describes every command.",
    complexity: "O(N) where N is the total number of commands.",
    arity: -1,
    subcommands: &[
        &COUNT,
        &docs::COMMAND,
        &getkeys::GETKEYS,
        &getkeys::GETKEYSANDFLAGS,
        &HELP,
        &INFO,
        &LIST,
    ],
    run: all,
    ..BASE
};

const COUNT: Command = Command {
    name: "command|count",
    summary: "Counts the commands.",
    arity: 2,
    run: |ctx, _| {
        ctx.reply.integer(table().top_level().count() as i64);
        Ok(())
    },
    ..BASE
};

const INFO: Command = Command {
    name: "command|info",
    summary: "Describes some commands, or all.",
    complexity: "O(N) where N is the number of commands asked about.",
    arity: -2,
    args: &[Arg::string("command-name").optional().multiple()],
    run: info,
    ..BASE
};

const LIST: Command = Command {
    name: "command|list",
    since: "7.0.0",
    summary: "Lists the names of commands.",
    complexity: "O(N) where N is the total number of commands.",
    arity: -2,
    args: &[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").after("MODULE"),
            Arg::string("category").after("ACLCAT"),
            Arg::new("pattern", crate::commands::command::ArgKind::Pattern).after("PATTERN"),
        ],
    )
    .after("FILTERBY")
    .optional()],
    run: list,
    ..BASE
};

const HELP: Command = Command {
    name: "command|help",
    since: "5.0.0",
    summary: "Explains the subcommands.",
    arity: 2,
    run: |ctx, _| {
        help::reply(
            ctx,
            "COMMAND",
            &[
                "(no subcommand)",
                "    Describe all commands.",
                "COUNT",
                "    Tell how many commands there are.",
                "DOCS [<command-name> [<command-name> ...]]",
                "    Show the documentation of these commands, or of all.",
                "GETKEYS <full-command>",
                "    Tell which arguments of a command are keys.",
                "GETKEYSANDFLAGS <full-command>",
                "    Tell which arguments are keys, and what is done to them.",
                "INFO [<command-name> [<command-name> ...]]",
                "    Describe these commands, or all.",
                "LIST [FILTERBY (MODULE <module>|ACLCAT <category>|PATTERN <pattern>)]",
                "    List the names of commands.",
            ],
        )
    },
    ..BASE
};

fn all(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    ctx.reply.array(table().top_level().count());
    for command in table().top_level() {
        describe::describe(ctx.reply, command);
    }
    Ok(())
}

fn info(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len() == 2 {
        return all(ctx, args);
    }
    ctx.reply.array(args.len() - 2);
    for name in &args[2..] {
        match table().by_called_name(name) {
            Some(found) => describe::describe(ctx.reply, found.command),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn list(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let filter: Box<dyn Fn(&Command) -> bool> = match args {
        [_, _] => Box::new(|_| true),
        [_, _, word, kind, value] if args::is(word, "filterby") => filter_of(kind, value)?,
        _ => return Err(CommandError::Syntax),
    };
    let names: Vec<&str> = table()
        .callable()
        .filter(|command| filter(command))
        .map(|command| command.name)
        .collect();
    ctx.reply.array(names.len());
    names
        .iter()
        .for_each(|name| ctx.reply.bulk(name.as_bytes()));
    Ok(())
}

/// Whether a command is wanted.
type Filter = Box<dyn Fn(&Command) -> bool>;

fn filter_of(kind: &[u8], value: &[u8]) -> Result<Filter, CommandError> {
    if args::is(kind, "module") {
        return Ok(Box::new(|_| false));
    }
    if args::is(kind, "aclcat") {
        let at = acl::NAMES
            .iter()
            .position(|name| value.eq_ignore_ascii_case(name.as_bytes()));
        return Ok(match at {
            None => Box::new(|_| false),
            Some(bit) => Box::new(move |command| {
                acl::with_implied(command.acl, command.flags) & (1 << bit) != 0
            }),
        });
    }
    if args::is(kind, "pattern") {
        let pattern = value.to_vec();
        return Ok(Box::new(move |command| {
            glob::matches(&pattern, command.name.as_bytes(), Case::Insensitive)
        }));
    }
    Err(CommandError::Syntax)
}
