//! The server itself: configuration, INFO, DEBUG and the like.

mod command;
mod config;
mod help;
mod info;
mod save;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &command::COMMAND,
    &config::COMMAND,
    &info::COMMAND,
    &save::BGREWRITEAOF,
    &save::BGSAVE,
    &save::LASTSAVE,
    &save::SAVE,
];
