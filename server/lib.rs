//! Redoubt's server: commands on a keyspace in RAM, one log, one tree.
//!
//! Reading order: `resp` (bytes and frames), `keyspace` (tables, entries,
//! values), `commands` (what a command is, and each of them), `connection`
//! (one client), `runtime` (all of tokio: listener, workers, checkpoints).

pub mod acl;
pub mod clock;
pub mod cluster;
pub mod cold_reads;
pub mod commands;
pub mod config;
pub mod connection;
pub mod eviction;
pub mod glob;
pub mod health;
pub mod keyspace;
pub mod latency;
pub mod logging;
pub mod memory;
pub mod monitor;
pub mod number;
pub mod oom;
pub mod replication;
pub mod resident;
pub mod resp;
pub mod runtime;
pub mod saves;
pub mod scripting;
pub mod settings;
pub mod shutdown;
pub mod state;
pub mod stats;
pub mod storage;
pub mod tracking;
