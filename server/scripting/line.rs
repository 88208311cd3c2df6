//! The line: requests that scripts have kept waiting get their turn.
//!
//! What needs what a long script holds is put off, and tried again every few
//! milliseconds (`busy.rs`). Where scripts overlap it might never find free at
//! one moment all that it needs. So after a while it takes a place in line, and
//! no script begins that would use any of the same stripes before it has run.
//! Those that are under way end, and it finds all free. Other commands are over
//! at once, and need not stand in line.
//!
//! Nobody stands in line for a script that has run for very long: that may go
//! on for ever, and others must not wait with those who wait for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::busy::Running;
use crate::keyspace::stripe::StripeSet;
use crate::state::Server;

/// What has been put off for so long takes a place.
const PATIENCE: Duration = Duration::from_millis(20);
/// A script that has run for so long may go on for ever.
pub const ENDLESS: Duration = Duration::from_secs(2);
/// A place is good for so long: whoever has it may not come back, since his
/// client does not read what it is sent. By then all others have ended.
const LONGEST: Duration = Duration::from_secs(3);

/// Who stands in line, with the stripes that they need.
#[derive(Default)]
pub struct Line {
    places: Mutex<Places>,
    count: AtomicUsize,
}

/// The places in line.
#[derive(Default)]
struct Places {
    /// The last number that was given.
    last: u64,
    /// By number: what is needed, and since when.
    taken: BTreeMap<u64, (StripeSet, Instant)>,
}

impl Line {
    /// Whether anybody stands there.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Takes the last place.
    pub fn join(&'static self, stripes: StripeSet) -> Place {
        let mut places = self.places.lock();
        places.last += 1;
        let number = places.last;
        let joined = Instant::now();
        places.taken.insert(number, (stripes, joined));
        self.count.store(places.taken.len(), Ordering::Release);
        Place {
            line: self,
            number,
            joined,
        }
    }

    /// Whether somebody before this place needs one of these stripes, and may get
    /// what he needs soon.
    pub fn is_before(&self, number: u64, stripes: StripeSet, running: &Running) -> bool {
        let places = self.places.lock();
        let mut before = places.taken.range(..number);
        before.any(|(_, (theirs, joined))| {
            theirs.meets(stripes) && joined.elapsed() < LONGEST && !running.is_endless(*theirs)
        })
    }
}

/// A place in line; given up when dropped.
pub struct Place {
    line: &'static Line,
    number: u64,
    joined: Instant,
}

impl Place {
    /// Whether its time is over.
    pub fn is_over(&self) -> bool {
        self.joined.elapsed() >= LONGEST
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.line.places.lock();
        places.taken.remove(&self.number);
        self.line.count.store(places.taken.len(), Ordering::Release);
    }
}

/// A request that has been put off: since when, and its place in line once it
/// has one.
pub struct PutOff {
    since: Instant,
    place: Option<Place>,
}

impl PutOff {
    /// One that was put off for the first time.
    pub fn begin() -> PutOff {
        PutOff {
            since: Instant::now(),
            place: None,
        }
    }

    /// Its place's number; without a place it is behind all.
    pub fn number(&self) -> u64 {
        self.place.as_ref().map_or(u64::MAX, |place| place.number)
    }

    /// Whether it is time for a place, or for another one.
    pub fn is_impatient(&self) -> bool {
        match &self.place {
            None => self.since.elapsed() >= PATIENCE,
            Some(place) => place.is_over(),
        }
    }

    /// Takes a place, if scripts are what it waits for.
    pub fn line_up(&mut self, server: &'static Server, stripes: StripeSet) {
        let (running, line) = (&server.scripting.running, &server.scripting.line);
        self.place = None;
        if running.hold_any(stripes) || line.is_before(u64::MAX, stripes, running) {
            self.place = Some(line.join(stripes));
        }
    }
}

/// Tries again and again, for a second at most, what needs all stripes at once
/// and has failed while scripts were under way; in line, unless one of them may
/// go on for ever.
pub fn insist<R>(server: &'static Server, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    const AT_MOST: Duration = Duration::from_secs(1);
    let running = &server.scripting.running;
    if !running.any() || running.is_endless(StripeSet::ALL) {
        return None;
    }
    let _place = server.scripting.line.join(StripeSet::ALL);
    let began = Instant::now();
    while began.elapsed() < AT_MOST && !running.is_endless(StripeSet::ALL) {
        if let Some(done) = attempt() {
            return Some(done);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}
