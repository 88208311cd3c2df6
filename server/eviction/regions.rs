//! Which values leave RAM when memory is short because what is in use is spread
//! over too many regions: the allocator can give a region back to the system
//! only once nothing is left in it, and values picked by chance leave each
//! region with a few.
//!
//! So a thread looks where all values lie and picks whole regions: those that
//! cost the fewest values, and of these those not used for the longest time.
//! Source of the weighing: Rosenblum and Ousterhout, "The Design and
//! Implementation of a Log-Structured File System", 1991, section 3.6.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{CLOCK_MASK, spills};
use crate::keyspace::Keyspace;
use crate::keyspace::regions::Located;
use crate::state::{Server, unix_ms};

/// Of `maxmemory` so much is picked at a time.
const SHARE: u64 = 8;
/// What is picked is to last for so many times as long as picking takes.
const PAUSE_FACTOR: u32 = 4;
/// At least so much, however small `maxmemory` is.
const FEWEST_BYTES: u64 = 1 << 20;

/// Values that are to leave, region after region; the last ones first.
#[derive(Default)]
pub struct Plan {
    values: Mutex<Vec<Located>>,
    timing: Mutex<Option<(Instant, Duration)>>,
    is_being_made: AtomicBool,
}

/// What is known of a region.
#[derive(Default, Clone, Copy)]
struct Region {
    live_bytes: u64,
    values: u64,
    age_sum: u64,
    /// Something is in it that may not leave.
    is_pinned: bool,
}

impl Region {
    fn add(&mut self, located: &Located, clock: u32) {
        let age = clock.wrapping_sub(located.access) & CLOCK_MASK;
        self.live_bytes += located.bytes as u64;
        self.values += 1;
        self.age_sum += u64::from(age);
        self.is_pinned |= !located.is_clean;
    }

    /// Room won for each byte that is lost, times its mean age.
    fn worth(&self) -> f64 {
        let age = self.age_sum as f64 / self.values as f64;
        (age + 1.0) / self.live_bytes.max(1) as f64
    }
}

impl Plan {
    /// Has a value leave that was picked; gives the bytes freed.
    pub fn spill_one(&self, keyspace: &Keyspace) -> Option<usize> {
        loop {
            let located = self.values.lock().pop()?;
            // It may have changed or left since.
            if let Some(freed) = keyspace.spill_located(&located) {
                return Some(freed);
            }
        }
    }

    /// Begins to pick values if there are none left and it's not too soon.
    pub fn make(&self, server: &'static Server) {
        let too_soon = self
            .timing
            .lock()
            .is_some_and(|(began, took)| began.elapsed() < took * (1 + PAUSE_FACTOR));
        let done = self.values.lock().is_empty();
        if too_soon || !done || !spills(server) || self.is_being_made.swap(true, Relaxed) {
            return;
        }
        let began = Instant::now();
        let body = move || {
            let bytes = server.settings.maxmemory.load(Relaxed) / SHARE;
            let picked = pick(&server.keyspace, bytes.max(FEWEST_BYTES));
            let plan = &server.eviction.plan;
            *plan.values.lock() = picked;
            *plan.timing.lock() = Some((began, began.elapsed()));
            plan.is_being_made.store(false, Relaxed);
        };
        let thread = std::thread::Builder::new().name("regions".into());
        if thread.spawn(body).is_err() {
            self.is_being_made.store(false, Relaxed);
        }
    }
}

/// The values of the regions that are best given up, of `bytes` in total.
fn pick(keyspace: &Keyspace, bytes: u64) -> Vec<Located> {
    let clock = (unix_ms() / 1000) as u32 & CLOCK_MASK;
    let mut regions: HashMap<u64, Region, ahash::RandomState> = HashMap::default();
    keyspace.locate(&mut |located| {
        let region = regions.entry(located.region).or_default();
        region.add(&located, clock);
    });
    let chosen = choose(regions, bytes);
    let mut picked = Vec::new();
    keyspace.locate(&mut |located| {
        if located.is_clean && chosen.contains_key(&located.region) {
            picked.push(located);
        }
    });
    picked.sort_unstable_by_key(|located| std::cmp::Reverse(chosen[&located.region]));
    picked
}

/// The regions of most worth with `bytes` in them, and their ranks.
fn choose(
    mut regions: HashMap<u64, Region, ahash::RandomState>,
    bytes: u64,
) -> HashMap<u64, usize, ahash::RandomState> {
    regions.retain(|_, region| !region.is_pinned);
    let mut ranked: Vec<(u64, Region)> = regions.into_iter().collect();
    ranked.sort_unstable_by(|(_, one), (_, other)| other.worth().total_cmp(&one.worth()));
    let mut left = bytes;
    let some = ranked.into_iter().take_while(|(_, region)| {
        let goes_on = left > 0;
        left = left.saturating_sub(region.live_bytes);
        goes_on
    });
    let numbers = some.enumerate();
    numbers.map(|(rank, (region, _))| (region, rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(live_bytes: u64, age: u64, is_pinned: bool) -> Region {
        Region {
            live_bytes,
            values: 1,
            age_sum: age,
            is_pinned,
        }
    }

    #[test]
    fn sparse_and_old_regions_go_first_and_pinned_ones_stay() {
        let regions = HashMap::from_iter([
            (1, region(60_000, 0, false)),
            (2, region(3_000, 0, false)),
            (3, region(60_000, 100, false)),
            (4, region(1_000, 100, true)),
            (5, region(30_000, 0, false)),
        ]);
        let ranks = choose(regions.clone(), 63_000);
        assert_eq!(ranks, HashMap::from_iter([(3, 0), (2, 1)]));
        assert_eq!(choose(regions, 1 << 30).len(), 4);
    }
}
