//! COMMAND GETKEYS and GETKEYSANDFLAGS: which arguments are keys.

use super::BASE;
use crate::commands::command::{Arg, Command, Find, KeySpec, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::keys::{each_key, flags_of, numbers_are_plain};
use crate::commands::table::table;

/// COMMAND GETKEYS command [arg …]
pub const GETKEYS: Command = Command {
    name: "command|getkeys",
    summary: "Finds the keys among a command's arguments.",
    complexity: "O(N) where N is the number of arguments.",
    arity: -3,
    args: ARGS,
    run: |ctx, args| {
        let Keys { found, .. } = find(&args[2..])?;
        ctx.reply.array(found.len());
        for (at, _) in found {
            ctx.reply.bulk(args[2 + at]);
        }
        Ok(())
    },
    ..BASE
};

/// COMMAND GETKEYSANDFLAGS command [arg …]
pub const GETKEYSANDFLAGS: Command = Command {
    name: "command|getkeysandflags",
    since: "7.0.0",
    summary: "Finds the keys among a command's arguments, and what is done to them.",
    complexity: "O(N) where N is the number of arguments.",
    arity: -3,
    args: ARGS,
    run: with_flags,
    ..BASE
};

const ARGS: &[Arg] = &[
    Arg::string("command"),
    Arg::string("arg").optional().multiple(),
];

fn with_flags(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let args = &args[2..];
    let Keys { found, by_spec } = find(args)?;
    ctx.reply.array(found.len());
    for (at, spec) in found {
        ctx.reply.array(2);
        ctx.reply.bulk(args[at]);
        let flags = match by_spec {
            true => flags_of(spec, args),
            false => &[],
        };
        super::describe::words(ctx.reply, flags.to_vec());
    }
    Ok(())
}

/// The keys among a command's arguments.
struct Keys {
    /// Where each is, and the spec that found it.
    found: Vec<(usize, &'static KeySpec)>,
    /// Whether the specs suffice in Valkey.
    by_spec: bool,
}

fn find(args: &[&[u8]]) -> Result<Keys, CommandError> {
    let Some(found) = table().find_called(args) else {
        return Err(CommandError::err("Invalid command specified"));
    };
    let command = found.command;
    if !command.subcommands.is_empty() && args.len() > 1 {
        return Err(CommandError::err("Invalid command specified"));
    }
    let is_key = |spec: &KeySpec| !spec.flags.contains(&"not_key");
    if !command.keys.iter().any(is_key) {
        return Err(CommandError::err("The command has no key arguments"));
    }
    if !command.arity_fits(args.len()) {
        return Err(CommandError::err(
            "Invalid number of arguments specified for command",
        ));
    }
    let mut found = Vec::new();
    let fits = each_key(command, args, |at, spec| found.push((at, spec)));
    let by_spec = numbers_are_plain(command, args);
    if !by_spec {
        // A destination comes last then.
        found.sort_by_key(|(_, spec)| !matches!(spec.find, Find::Keynum { .. }));
    }
    let keys = Keys { found, by_spec };
    if keys.found.is_empty() && command.has(flag::NO_MANDATORY_KEYS) {
        return Ok(keys);
    }
    // Of the commands with a number of keys this one has nothing but its spec.
    let wanting = command.name == "msetex" && !by_spec;
    if !fits || keys.found.is_empty() || wanting {
        return Err(CommandError::err("Invalid arguments specified for command"));
    }
    Ok(keys)
}
