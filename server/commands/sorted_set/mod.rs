//! Sorted sets, the blocking ones among them.

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[];
