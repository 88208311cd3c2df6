//! Pub/sub: channels, patterns, shard channels. Source: the Pub/Sub
//! documentation.

mod listeners;
mod psubscribe;
pub mod publish;
mod ssubscribe;
mod subscribe;
mod subscription;

use super::command::Command;
pub use subscription::{forget_revoked, leave_all};

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &psubscribe::PSUBSCRIBE,
    &psubscribe::PUNSUBSCRIBE,
    &publish::PUBLISH,
    &publish::SPUBLISH,
    &listeners::COMMAND,
    &ssubscribe::SSUBSCRIBE,
    &ssubscribe::SUNSUBSCRIBE,
    &subscribe::SUBSCRIBE,
    &subscribe::UNSUBSCRIBE,
];
