//! All of tokio and all threads: start and shutdown, the listener, workers,
//! connections' input and output, the checkpoint thread, the clockwork that
//! expires keys and warms cold slots.

mod accord;
pub mod affinity;
pub mod background;
pub mod bus;
mod cache_tree;
pub mod checkpoint;
pub mod connection;
pub mod descriptors;
mod doorman;
pub mod durable;
pub mod import;
pub mod keeping;
pub mod listener;
pub mod listening;
pub mod migration;
pub mod outgoing;
mod pace;
pub mod recovery;
pub mod replication;
mod retention;
mod rounds;
pub mod save;
pub mod shutdown;
mod socket;
pub mod start;
pub mod supervisor;
pub mod tending;
mod thrift;
mod unconfirmed;
pub mod watch;
