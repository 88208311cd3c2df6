//! Everything that makes data outlive the process: the log, the tree and the
//! codec that both share with RDB files.
//!
//! The crate knows neither sockets nor clocks of the cluster, nor tokio. The
//! log reaches files through the small [`disk::Disk`] trait, so that a
//! simulated disk can take the place of the real one in tests.

pub mod checkpoint;
#[cfg(test)]
mod crash_tests;
pub mod disk;
pub mod log;
pub mod rdb;
pub mod tree;
