//! Replication: who follows whom, how far everybody is, and the words that
//! primaries and replicas exchange.

mod failover;
mod psync;
mod replconf;
mod replicaof;
mod role;
mod wait;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &failover::COMMAND,
    &psync::PSYNC,
    &psync::SYNC,
    &replconf::COMMAND,
    &replicaof::REPLICAOF,
    &replicaof::SLAVEOF,
    &role::COMMAND,
    &wait::WAIT,
    &wait::WAITAOF,
];
