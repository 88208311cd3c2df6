//! PSUBSCRIBE, PUNSUBSCRIBE: listens to all channels that match a pattern.

use super::subscription::{join, leave};
use crate::commands::command::{Arg, ArgKind, Command, Group, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::pubsub::Kind;

/// PSUBSCRIBE pattern [pattern …]
pub const PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Listens to the channels that match patterns.",
    complexity: "O(N) where N is the number of names to listen to.",
    arity: -2,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    args: &[Arg::new("pattern", ArgKind::Pattern).multiple()],
    run: |ctx, args| begin(ctx, args),
    ..Command::BASE
};

/// PUNSUBSCRIBE [pattern …]
pub const PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Ends listening to patterns, or to all.",
    complexity: "O(N) where N is the number of names to leave.",
    arity: -1,
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    args: &[Arg::new("pattern", ArgKind::Pattern).optional().multiple()],
    run: |ctx, args| {
        leave(ctx, Kind::Pattern, &args[1..]);
        Ok(())
    },
    ..Command::BASE
};

fn begin(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    join(ctx, Kind::Pattern, &args[1..]);
    Ok(())
}
