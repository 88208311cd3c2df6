//! The cluster's protocol logic: slots, the node table and `nodes.conf`, the
//! bus's messages, the state machine that gossips, suspects, votes and takes
//! over, and replication's hand-shake.
//!
//! Must not know tokio, sockets, files or clocks: [`bus::Bus`] takes the time,
//! its inputs and its seed as arguments and gives outputs back. The server
//! drives it with real sockets, the simulation in `tests/simulation` with
//! virtual ones.
//!
//! Source: the Redis Cluster specification (bus, failure detection, election,
//! configuration epochs), and what Redis 7.0 and Valkey put on the wire.
//!
//! Reading order: [`message`] (what is said), [`table`] (what is known),
//! [`bus`] (what is done).

pub mod bus;
pub mod flags;
pub mod identity;
pub mod message;
pub mod nodes_conf;
pub mod random;
pub mod replication;
pub mod slot_migration;
pub mod slot_set;
pub mod slots;
pub mod table;
