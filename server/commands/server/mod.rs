//! The server itself: configuration, INFO, DEBUG and the like.

mod absent;
mod command;
mod commandlog;
mod config;
mod debug;
pub mod help;
mod info;
mod latency;
mod memory;
mod save;
mod simple;

use super::command::Command;

/// The version of the protocol that clients and replicas are promised.
pub const REDIS_VERSION: &str = "7.2.4";

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
    &absent::ASKING,
    &absent::CLUSTER,
    &absent::MODULE,
    &absent::READONLY,
    &absent::READWRITE,
    &debug::COMMAND,
    &simple::LOLWUT,
    &simple::SHUTDOWN,
    &simple::TIME,
];
