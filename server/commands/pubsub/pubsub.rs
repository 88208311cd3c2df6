//! PUBSUB: who listens to what.

use crate::commands::command::{Arg, ArgKind, Command, Group, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::pubsub::Kind;

/// PUBSUB subcommand
pub const COMMAND: Command = Command {
    name: "pubsub",
    group: Group::Pubsub,
    since: "2.8.0",
    summary: "Tells who listens to what.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        &CHANNELS,
        &HELP,
        &NUMPAT,
        &NUMSUB,
        &SHARDCHANNELS,
        &SHARDNUMSUB,
    ],
    ..Command::BASE
};

/// What the subcommands have in common.
const BASE: Command = Command {
    group: Group::Pubsub,
    since: "2.8.0",
    flags: flag::PUBSUB | flag::LOADING | flag::STALE,
    ..Command::BASE
};

/// PUBSUB CHANNELS [pattern]
const CHANNELS: Command = Command {
    name: "pubsub|channels",
    summary: "Lists the channels that somebody listens to.",
    complexity: "O(N) where N is the number of active channels.",
    arity: -2,
    args: &[Arg::new("pattern", ArgKind::Pattern).optional()],
    run: |ctx, args| names(ctx, Kind::Channel, args),
    ..BASE
};

/// PUBSUB SHARDCHANNELS [pattern]
const SHARDCHANNELS: Command = Command {
    name: "pubsub|shardchannels",
    since: "7.0.0",
    summary: "Lists the shard channels that somebody listens to.",
    complexity: "O(N) where N is the number of active shard channels.",
    arity: -2,
    args: &[Arg::new("pattern", ArgKind::Pattern).optional()],
    run: |ctx, args| names(ctx, Kind::Shard, args),
    ..BASE
};

/// PUBSUB NUMSUB [channel …]
const NUMSUB: Command = Command {
    name: "pubsub|numsub",
    summary: "Counts those who listen to channels.",
    complexity: "O(N) where N is the number of channels asked for.",
    arity: -2,
    args: &[Arg::string("channel").optional().multiple()],
    run: |ctx, args| listeners(ctx, Kind::Channel, args),
    ..BASE
};

/// PUBSUB SHARDNUMSUB [shardchannel …]
const SHARDNUMSUB: Command = Command {
    name: "pubsub|shardnumsub",
    since: "7.0.0",
    summary: "Counts those who listen to shard channels.",
    complexity: "O(N) where N is the number of shard channels asked for.",
    arity: -2,
    args: &[Arg::string("shardchannel").optional().multiple()],
    run: |ctx, args| listeners(ctx, Kind::Shard, args),
    ..BASE
};

/// PUBSUB NUMPAT
const NUMPAT: Command = Command {
    name: "pubsub|numpat",
    summary: "Counts the patterns that somebody listens to.",
    arity: 2,
    run: |ctx, _| {
        let patterns = ctx.server.pubsub.len(Kind::Pattern);
        ctx.reply.integer(patterns as i64);
        Ok(())
    },
    ..BASE
};

/// PUBSUB HELP
const HELP: Command = Command {
    name: "pubsub|help",
    since: "6.2.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        ctx.reply.array(HELP_LINES.len());
        HELP_LINES.iter().for_each(|line| ctx.reply.simple(line));
        Ok(())
    },
    ..BASE
};

const HELP_LINES: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    The channels that somebody listens to, or those of them that match.",
    "NUMPAT",
    "    How many patterns are listened to.",
    "NUMSUB [<channel> ...]",
    "    How many clients listen to each channel, patterns left aside.",
    "SHARDCHANNELS [<pattern>]",
    "    As CHANNELS, of shard channels.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    As NUMSUB, of shard channels.",
    "HELP",
    "    This text.",
];

fn names(ctx: &mut Context<'_>, kind: Kind, args: &[&[u8]]) -> CommandResult {
    if args.len() > 3 {
        let name = String::from_utf8_lossy(args[1]);
        return Err(CommandError::err(format!(
            "unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
        )));
    }
    let names = ctx.server.pubsub.names(kind, args.get(2).copied());
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(())
}

fn listeners(ctx: &mut Context<'_>, kind: Kind, args: &[&[u8]]) -> CommandResult {
    ctx.reply.array((args.len() - 2) * 2);
    for name in &args[2..] {
        ctx.reply.bulk(name);
        let count = ctx.server.pubsub.listeners(kind, name);
        ctx.reply.integer(count as i64);
    }
    Ok(())
}
