//! Commands about the connection itself.

mod ping;
mod select;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[&ping::COMMAND, &select::COMMAND];
