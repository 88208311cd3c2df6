//! SSUBSCRIBE, SUNSUBSCRIBE: listens to shard channels.

use super::subscription::{join, leave};
use crate::commands::command::{Arg, Command, Group, KeySpec, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::pubsub::Kind;

/// SSUBSCRIBE shardchannel [shardchannel …]
pub const SSUBSCRIBE: Command = Command {
    name: "ssubscribe",
    group: Group::Pubsub,
    since: "7.0.0",
    summary: "Listens to shard channels.",
    complexity: "O(N) where N is the number of names to listen to.",
    arity: -2,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    keys: &[KeySpec::range(1, -1, 1, &["not_key"])],
    args: &[Arg::string("shardchannel").multiple()],
    run: |ctx, args| begin(ctx, args),
    ..Command::BASE
};

/// SUNSUBSCRIBE [shardchannel …]
pub const SUNSUBSCRIBE: Command = Command {
    name: "sunsubscribe",
    group: Group::Pubsub,
    since: "7.0.0",
    summary: "Ends listening to shard channels, or to all.",
    complexity: "O(N) where N is the number of names to leave.",
    arity: -1,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    keys: &[KeySpec::range(1, -1, 1, &["not_key"])],
    args: &[Arg::string("shardchannel").optional().multiple()],
    run: |ctx, args| {
        leave(ctx, Kind::Shard, &args[1..]);
        Ok(())
    },
    ..Command::BASE
};

fn begin(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if ctx.in_transaction {
        return Err(CommandError::err(
            "SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        ));
    }
    join(ctx, Kind::Shard, &args[1..]);
    Ok(())
}
