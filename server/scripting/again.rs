//! A script that has run for long and must begin again with all stripes: on its
//! own thread, with its command's words as they were copied.
//!
//! It has not written, so nothing is lost; and while it waits it holds nothing,
//! so whoever has written can go on (`locks.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::busy::{LongScript, can_lock};
use super::invocation::{Invocation, What};
use crate::keyspace::stripe::StripeSet;
use crate::state::Server;

/// Where the keys begin in EVAL, FCALL and their kin.
const FIRST_KEY: usize = 3;
/// Time between two attempts to get all stripes, and to get the right to roam.
const PATIENCE: Duration = Duration::from_millis(5);

/// What it takes to call a script again after its caller's arguments are gone.
pub struct Recall {
    what: What,
    function: i32,
    key_count: usize,
    read_only: bool,
}

impl Recall {
    /// Notes what is needed of a call.
    pub fn of(invocation: &Invocation<'_>) -> Recall {
        Recall {
            what: invocation.what.clone(),
            function: invocation.function,
            key_count: invocation.keys.len(),
            read_only: invocation.read_only,
        }
    }

    /// The same call with the words of `command`.
    pub fn invocation<'a>(&self, command: &'a [&'a [u8]]) -> Invocation<'a> {
        let (keys, args) = command[FIRST_KEY..].split_at(self.key_count);
        Invocation {
            what: self.what.clone(),
            function: self.function,
            keys,
            args,
            command,
            read_only: self.read_only,
        }
    }
}

/// Waits until all stripes can be had soon, and takes the right to roam. False
/// if the script was killed meanwhile.
pub fn wait_for_all(server: &Server, long: &Arc<LongScript>) -> bool {
    long.hold(StripeSet::default());
    server.unpaused.notify_waiters();
    while long.killed().is_none() {
        if !server.scripting.roaming.try_claim(PATIENCE) {
            continue;
        }
        if can_lock(server, StripeSet::ALL) {
            long.hold(StripeSet::ALL);
            return true;
        }
        server.scripting.roaming.give_back();
        std::thread::sleep(PATIENCE);
    }
    false
}
