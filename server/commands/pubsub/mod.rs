//! Pub/sub: channels, patterns, shard channels.

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[];
