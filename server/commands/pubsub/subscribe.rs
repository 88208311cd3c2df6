//! SUBSCRIBE, UNSUBSCRIBE: listens to channels.

use super::subscription::{join, leave};
use crate::commands::command::{Arg, Command, Group, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::pubsub::Kind;

/// SUBSCRIBE channel [channel …]
pub const SUBSCRIBE: Command = Command {
    name: "subscribe",
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Listens to channels.",
    complexity: "O(N) where N is the number of names to listen to.",
    arity: -2,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    args: &[Arg::string("channel").multiple()],
    run: |ctx, args| begin(ctx, args),
    ..Command::BASE
};

/// UNSUBSCRIBE [channel …]
pub const UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Ends listening to channels, or to all.",
    complexity: "O(N) where N is the number of names to leave.",
    arity: -1,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    args: &[Arg::string("channel").optional().multiple()],
    run: |ctx, args| {
        leave(ctx, Kind::Channel, &args[1..]);
        Ok(())
    },
    ..Command::BASE
};

fn begin(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    join(ctx, Kind::Channel, &args[1..]);
    Ok(())
}
