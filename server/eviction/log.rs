//! Room for what no client of ours writes: a primary's stream, and the log that
//! is replayed at a start. Where values leave RAM for the tree, neither can be
//! refused; but both can wait.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Room, is_spilt, make_room_within, pressure, urgent_lag};
use crate::health::Trouble;
use crate::resident;
use crate::state::Server;

/// For so long clients' commands may meet locked stripes.
const BUDGET: Duration = Duration::from_millis(20);
/// The stream waits so long when the tree is far behind, as clients do.
const SLOW: Duration = Duration::from_millis(100);
/// It waits no longer: the primary has to hear of us, and what is behind it
/// may be what frees memory.
const MOST: Duration = Duration::from_secs(1);
/// How often it looks whether there is room.
const LOOK: Duration = Duration::from_millis(5);
/// In replay the tree takes over what is this share of `maxmemory` at least.
const REPLAYED_SHARE: u64 = 8;

/// Makes room for what a primary's stream brings next; whether none of it should
/// be read yet, after a moment's sleep. It was last read at `read_at`. The caller
/// holds no stripe.
pub fn hold_up(server: &'static Server, read_at: Instant) -> bool {
    let holds = read_at.elapsed() < wanted(server);
    if holds {
        std::thread::sleep(LOOK);
    }
    holds
}

/// How long the stream is to wait.
fn wanted(server: &'static Server) -> Duration {
    let (Some(storage), Some(urgent)) = (server.storage(), urgent_lag(server)) else {
        return Duration::ZERO;
    };
    let room = make_room_within(server, Some(BUDGET));
    let (lag, health) = (server.tree_lag(storage), &server.health);
    let catches_up = !health.tree_paused.load(Relaxed) && !health.has(Trouble::Tree);
    match room {
        Room::Enough if catches_up => SLOW.mul_f64(pressure(server, lag)),
        Room::Enough => Duration::ZERO,
        // The rest is keys, or stays for as long as the tree stands still.
        _ if is_spilt(server) && !(catches_up && lag > urgent) => Duration::ZERO,
        _ => MOST,
    }
}

/// Makes room while the log is replayed, up to the offset `at`; whether there
/// is none before the tree has taken over what is in RAM.
pub fn needs_tree(server: &'static Server, at: u64) -> bool {
    if urgent_lag(server).is_none() {
        return false;
    }
    // The thread that looks at it does not run yet.
    resident::watch(server);
    let limit = server.settings.maxmemory.load(Relaxed);
    let lag = at.saturating_sub(server.applied.load(Relaxed));
    make_room_within(server, None) != Room::Enough
        && lag >= limit / REPLAYED_SHARE
        && !server.health.has(Trouble::Tree)
}
