//! The server itself: configuration, INFO, DEBUG and the like.

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[];
