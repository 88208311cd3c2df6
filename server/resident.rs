//! Resident memory held to `maxmemory`, where values leave RAM for the tree.
//!
//! What is counted ([`used_bytes`](crate::memory::used_bytes)) is less than what
//! the process takes up: LMDB's dirty pages, threads' stacks, and above all the
//! room between live values that the allocator can't give back. So RssAnon is
//! measured several times a second, and the bytes that may be in use follow
//! from it: while it is below the limit, as many more as are missing to it;
//! while it is above, fewer and fewer, until freed pages have gone back.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::memory::{give_back_pages, used_bytes};
use crate::state::Server;

/// RssAnon is held to the limit less this share of it, for what comes in
/// between two looks.
const MARGIN: u64 = 32;
/// Of what is above the limit so much leaves RAM per look: the allocator gives
/// freed pages back with a delay.
const STEP: u64 = 8;
/// At least this share of the limit may be in use.
const LEAST: u64 = 4;

/// Looks between two collections of all threads.
const COLLECTION_LOOKS: u32 = 5;

/// How often all threads were asked to give their free pages back.
static COLLECTIONS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static COLLECTED: Cell<u32> = const { Cell::new(0) };
}

/// Gives this thread's free pages back if that was asked for: what others freed
/// in its pages is known to it alone. Threads on whose behalf values are made
/// call it whenever they have nothing to do.
#[inline]
pub fn collect_if_asked() {
    let asked = COLLECTIONS.load(Relaxed);
    if COLLECTED.get() != asked {
        COLLECTED.set(asked);
        give_back_pages();
    }
}

/// Gives this thread's free pages back, and has the others do so, each when it has
/// nothing else to do.
pub fn collect_everywhere() {
    COLLECTIONS.fetch_add(1, Relaxed);
    give_back_pages();
}

/// How many bytes may be in use.
#[derive(Default)]
pub struct Resident {
    /// 0: `maxmemory` itself.
    allowed: AtomicU64,
    active: AtomicBool,
    /// Looks at which memory was short, in a row or not.
    short_looks: AtomicU32,
}

impl Resident {
    /// How many bytes may be in use for RssAnon to be below `limit`.
    pub fn allowed(&self, limit: u64) -> u64 {
        match self.allowed.load(Relaxed) {
            0 => limit,
            allowed => allowed.min(limit),
        }
    }
}

/// Looks at RssAnon. Called every 20 ms or so.
pub fn watch(server: &'static Server) {
    let limit = server.settings.maxmemory.load(Relaxed);
    let spills = || {
        let policy = server.settings.policy();
        policy.is_some_and(|policy| policy.to_tree)
    };
    let state = &server.eviction.resident;
    server.eviction.nothing_to_spill.store(false, Relaxed);
    let active = limit != 0 && spills();
    if state.active.swap(active, Relaxed) != active {
        allow_huge_pages(!active);
    }
    if !active {
        state.allowed.store(0, Relaxed);
        return;
    }
    let Some(mut resident) = anonymous_bytes() else {
        return;
    };
    if resident > limit - limit / MARGIN {
        let looks = state.short_looks.fetch_add(1, Relaxed);
        if looks.is_multiple_of(COLLECTION_LOOKS) {
            COLLECTIONS.fetch_add(1, Relaxed);
        }
        server.eviction.plan.make(server);
        give_back_pages();
        resident = anonymous_bytes().unwrap_or(resident);
    }
    let allowed = next(limit, resident, used_bytes(), state.allowed(limit));
    state.allowed.store(allowed, Relaxed);
}

/// How many bytes may be in use, after `before` were allowed: `used` of them
/// are, and make the process take up `resident`.
fn next(limit: u64, resident: u64, used: u64, before: u64) -> u64 {
    let target = limit - limit / MARGIN;
    let allowed = match resident.checked_sub(target) {
        None => used + (target - resident),
        Some(over) => before.min(used).saturating_sub(over / STEP),
    };
    allowed.clamp(limit / LEAST, limit)
}

/// Huge pages are quicker, but one of 2 MB comes back as a whole for the first
/// value in it: with a third of all values in RAM, half as much again.
fn allow_huge_pages(allow: bool) {
    // SAFETY: the call takes plain numbers.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, i32::from(!allow), 0, 0, 0);
    }
}

/// RssAnon of this process. Source: proc(5), statm: pages resident, and those
/// of them that belong to files.
fn anonymous_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split(' ').map(|n| n.parse::<u64>());
    let (_, resident, files) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(resident.ok()?.saturating_sub(files.ok()?) * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn what_is_missing_to_the_limit_may_be_used() {
        assert_eq!(next(64 * MB, 42 * MB, 20 * MB, 30 * MB), 40 * MB);
        assert_eq!(next(64 * MB, 0, 64 * MB, 64 * MB), 64 * MB);
    }

    #[test]
    fn above_the_limit_less_and_less_is_allowed_down_to_a_share_of_it() {
        let first = next(64 * MB, 70 * MB, 50 * MB, 60 * MB);
        assert_eq!(first, 49 * MB);
        let mut allowed = first;
        for _ in 0..100 {
            let now = next(64 * MB, 70 * MB, allowed, allowed);
            assert!(now < allowed || now == 16 * MB);
            allowed = now;
        }
        assert_eq!(allowed, 16 * MB);
    }

    #[test]
    fn this_process_takes_up_some_memory() {
        assert!(anonymous_bytes().unwrap() > MB / 8);
    }
}
