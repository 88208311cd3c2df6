//! Bitmaps: strings seen as bits.

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[];
