//! The server itself: configuration, INFO, DEBUG and the like.

mod absent;
mod command;
mod commandlog;
mod config;
pub mod debug;
pub mod help;
mod info;
mod latency;
mod memory;
mod save;
mod simple;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &command::COMMAND,
    &commandlog::COMMANDLOG,
    &commandlog::SLOWLOG,
    &latency::COMMAND,
    &memory::COMMAND,
    &config::COMMAND,
    &info::COMMAND,
    &save::BGREWRITEAOF,
    &save::BGSAVE,
    &save::LASTSAVE,
    &save::SAVE,
    &absent::MODULE,
    &debug::COMMAND,
    &simple::LOLWUT,
    &simple::SHUTDOWN,
    &simple::TIME,
];
