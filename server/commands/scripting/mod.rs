//! Scripts and functions. There are none yet; what can be said truthfully of
//! an empty set of libraries is said, for tools that clean up with it.

mod function;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[&function::COMMAND];
