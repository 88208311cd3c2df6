//! One client's connection: its requests in, its replies out.
//!
//! `pipeline.rs` turns bytes into batches of requests and runs them;
//! `dispatch.rs` runs one; `gate.rs` holds the checks before it; the rest is
//! what connections share. Nothing here knows sockets: `runtime` does.

mod bell;
pub mod blocking;
pub mod client;
pub mod conclusion;
pub mod dispatch;
pub mod gate;
pub mod listing;
pub mod memory;
pub mod output;
pub mod parting;
pub mod pause;
pub mod pipeline;
pub mod pubsub;
mod room;
pub mod serve;
pub mod session;
pub mod starting;
pub mod watch;
