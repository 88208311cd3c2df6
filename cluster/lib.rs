//! The cluster's protocol logic: slots and the replication hand-shake today;
//! bus messages, gossip and failover as they come.
//!
//! Must not know tokio, sockets or clocks: state machines here take the time
//! and their inputs as arguments and give their outputs back.

pub mod replication;
pub mod slots;
