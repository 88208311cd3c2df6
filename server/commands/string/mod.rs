//! Strings.

mod get;
mod set;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[&get::COMMAND, &set::COMMAND];
