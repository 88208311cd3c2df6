//! A script that has run for long and must begin again with all stripes: on its
//! own thread, with its command's words as they were copied.
//!
//! It has not written, so nothing is lost; and while it waits it holds nothing,
//! so whoever has written can go on (`locks.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::busy::{LongScript, can_lock};
use super::invocation::{Invocation, What};
use super::line::Place;
use crate::connection::pause;
use crate::keyspace::stripe::StripeSet;
use crate::state::{Server, unix_ms};

/// Where the keys begin in EVAL, FCALL and their kin.
const FIRST_KEY: usize = 3;
/// Time between two attempts to get all stripes, and to get the right to roam.
const PATIENCE: Duration = Duration::from_millis(5);

/// What it takes to call a script again after its caller's arguments are gone.
pub struct Recall {
    function: i32,
    key_count: usize,
    read_only: bool,
}

impl Recall {
    /// Notes what is needed of a call.
    pub fn of(invocation: &Invocation<'_>) -> Recall {
        Recall {
            function: invocation.function,
            key_count: invocation.keys.len(),
            read_only: invocation.read_only,
        }
    }

    /// The same call of `what` with the words of `command`.
    pub fn invocation<'a>(&self, what: What, command: &'a [&'a [u8]]) -> Invocation<'a> {
        let (keys, args) = command[FIRST_KEY..].split_at(self.key_count);
        Invocation {
            what,
            function: self.function,
            keys,
            args,
            command,
            read_only: self.read_only,
        }
    }
}

/// Whether a script that begins again can have all stripes soon; if not, it is
/// tried again later. Takes the right to roam.
#[cold]
pub fn may_have_all(server: &Server) -> bool {
    let scripting = &server.scripting;
    if !scripting.roaming.try_claim(PATIENCE) {
        return false;
    }
    let free = can_lock(server, StripeSet::ALL);
    if !free {
        scripting.roaming.give_back();
    }
    free
}

/// Waits until all stripes can be had soon and no pause is in the way of a script
/// that may write, and takes the right to roam. False if the script was killed
/// meanwhile.
pub fn wait_for_all(
    server: &'static Server,
    long: &Arc<LongScript>,
    invocation: &Invocation<'_>,
) -> bool {
    let mut place = None;
    long.hold(StripeSet::default());
    server.unpaused.notify_waiters();
    // What it met is not over at once.
    std::thread::sleep(PATIENCE);
    while long.killed().is_none() {
        if invocation.may_write() && pause::is_on(server, unix_ms()) {
            // Nobody is to wait behind it.
            place = None;
            std::thread::sleep(PATIENCE);
            continue;
        }
        if place.as_ref().is_none_or(Place::is_over) {
            place = Some(server.scripting.line.join(StripeSet::ALL));
        }
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
