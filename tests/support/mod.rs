//! What the whole-server tests stand on: processes to test and a client to test them with.
//!
//! [`server`] starts a server (ours, or a Valkey or Redis as a peer) in a directory of its own;
//! [`client`] speaks RESP2 and RESP3 over a blocking socket. Neither knows anything of the
//! server's code: what a scenario sees is what a client sees.
//!
//! Nothing here sleeps for a fixed time: a condition is awaited with a deadline.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file compiles this module anew and uses its own part of it"
)]

pub mod client;
pub mod cluster;
pub mod mount;
pub mod moves;
pub mod server;

pub use client::{Client, Reply, encode};
pub use mount::Mount;
pub use server::{Peer, Server};

use std::time::{Duration, Instant};

/// Calls `check` until it is true. Panics with `what` after half a minute, which is for busy machines.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < deadline, "not in half a minute: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
