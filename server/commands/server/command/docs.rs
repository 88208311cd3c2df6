//! COMMAND DOCS: summary, syntax and the rest of the documentation.

use super::BASE;
use crate::commands::command::{Arg, ArgKind, Command};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::table::table;
use crate::resp::reply::ReplyBuffer;

/// COMMAND DOCS [command-name …]
pub const COMMAND: Command = Command {
    name: "command|docs",
    since: "7.0.0",
    summary: "Documents some commands, or all.",
    complexity: "O(N) where N is the number of commands asked about.",
    arity: -2,
    args: &[Arg::string("command-name").optional().multiple()],
    run,
    ..BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let commands: Vec<&'static Command> = if args.len() == 2 {
        table().top_level().collect()
    } else {
        let known = |name: &&[u8]| table().by_called_name(name).map(|found| found.command);
        args[2..].iter().filter_map(known).collect()
    };
    ctx.reply.map(commands.len());
    for command in commands {
        ctx.reply.bulk(command.name.as_bytes());
        document(ctx.reply, command);
    }
    Ok(())
}

fn document(reply: &mut ReplyBuffer, command: &Command) {
    let pairs =
        4 + usize::from(!command.args.is_empty()) + usize::from(!command.subcommands.is_empty());
    reply.map(pairs);
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !command.args.is_empty() {
        reply.bulk(b"arguments");
        arguments(reply, command.args);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for subcommand in command.subcommands {
            reply.bulk(subcommand.name.as_bytes());
            document(reply, subcommand);
        }
    }
}

fn arguments(reply: &mut ReplyBuffer, args: &[Arg]) {
    reply.array(args.len());
    args.iter().for_each(|arg| argument(reply, arg));
}

fn argument(reply: &mut ReplyBuffer, arg: &Arg) {
    let has_parts = matches!(arg.kind, ArgKind::OneOf | ArgKind::Block);
    let deferred = reply.defer();
    let mut pairs = 0;
    let mut text = |reply: &mut ReplyBuffer, name: &str, value: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
        pairs += 1;
    };
    text(reply, "name", arg.name);
    text(reply, "type", arg.kind.name());
    if !has_parts {
        text(reply, "display_text", arg.name);
    }
    if let Some(token) = arg.token {
        text(reply, "token", token);
    }
    if !arg.since.is_empty() {
        text(reply, "since", arg.since);
    }
    if let ArgKind::Key(index) = arg.kind {
        reply.bulk(b"key_spec_index");
        reply.integer(index as i64);
        pairs += 1;
    }
    let flags: Vec<&'static str> = [
        (arg.optional, "optional"),
        (arg.multiple, "multiple"),
        (arg.multiple_token, "multiple_token"),
    ]
    .iter()
    .filter_map(|(set, name)| set.then_some(*name))
    .collect();
    if !flags.is_empty() {
        reply.bulk(b"flags");
        super::describe::words(reply, flags);
        pairs += 1;
    }
    if has_parts {
        reply.bulk(b"arguments");
        arguments(reply, arg.args);
        pairs += 1;
    }
    reply.finish_map(deferred, pairs);
}
