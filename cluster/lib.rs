//! The cluster's protocol logic: slots today; bus messages, gossip, failover
//! and the replication hand-shake as they come.
//!
//! Must not know tokio, sockets or clocks: state machines here take the time
//! and their inputs as arguments and give their outputs back.

pub mod slots;
