//! Looking at tables without their locks, only to fetch ahead what a command
//! is going to touch.
//!
//! To lock a stripe for that cost as much as what it gained: the processor
//! finishes all it is at before it locks, the misses that were to overlap among
//! them. So whoever fetches ahead reads a table's head and one of its buckets as
//! they are, be it that another thread changes them meanwhile (every word that he
//! reads is an atomic), and does nothing with what he finds but prefetch it. What
//! remains to be seen to is that the memory which he reads is there: what he may
//! look at is freed only once every glimpse that was under way has ended
//! ([`wait_for_glimpses`]), which takes a few microseconds.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use redoubt_cluster::slots::SLOT_COUNT;

use super::Keyspace;
use super::entry::Entry;
use super::stripe::{Held, SLOTS_PER_STRIPE, STRIPES, StripeDb, stripe_of};
use super::table::{Table, prefetch};

/// Databases whose shares can be looked at.
const DATABASES: usize = 16;
/// So many threads can have glimpses; others do without.
const WATCHERS: usize = 256;

/// Where the shares of the first databases are: their tables' addresses, by
/// logical database and stripe, 0 where there is none or it was not looked for. A
/// share has at most one place, which its [`Sight`] knows: when a database comes to
/// be another physical one, its places are given up.
pub type Places = Arc<[AtomicUsize]>;

/// No places yet.
pub fn no_places() -> Places {
    (0..DATABASES * STRIPES)
        .map(|_| AtomicUsize::new(0))
        .collect()
}

/// One thread's glimpses: the count of their beginnings and ends, so odd during one.
#[repr(align(128))]
struct Watcher {
    taken: AtomicBool,
    turns: AtomicU64,
}

static WATCHING: [Watcher; WATCHERS] = [const {
    Watcher {
        taken: AtomicBool::new(false),
        turns: AtomicU64::new(0),
    }
}; WATCHERS];
/// Watchers from this one on were never taken.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// This thread's place among the watchers, until it ends.
struct Seat(Option<&'static Watcher>);

impl Seat {
    fn take() -> Seat {
        let is_free = |watcher: &&Watcher| !watcher.taken.swap(true, Ordering::Acquire);
        let found = WATCHING.iter().enumerate().find(|(_, w)| is_free(w));
        Seat(found.map(|(at, watcher)| {
            IN_USE.fetch_max(at + 1, Ordering::SeqCst);
            watcher
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(watcher) = self.0 {
            watcher.taken.store(false, Ordering::Release);
        }
    }
}

thread_local! {
    static SEAT: Seat = Seat::take();
}

/// Waits until no glimpse is under way that began before the call. What the caller
/// has made unreachable before that can be freed. Must not be called during a
/// glimpse of the caller's own.
pub fn wait_for_glimpses() {
    fence(Ordering::SeqCst);
    for watcher in &WATCHING[..IN_USE.load(Ordering::SeqCst)] {
        let turn = watcher.turns.load(Ordering::Acquire);
        while turn % 2 == 1 && watcher.turns.load(Ordering::Acquire) == turn {
            std::thread::yield_now();
        }
    }
}

/// A look at a database's tables. It takes no lock, and nothing may be freed by
/// this thread while it lasts, so it is to be short.
pub struct Glimpse<'k> {
    keyspace: &'k Keyspace,
    db: u32,
    watcher: &'static Watcher,
    /// It stays with its thread.
    thread: PhantomData<*const ()>,
}

impl Keyspace {
    /// Begins a look at a logical database; None if it can't be looked at.
    #[inline]
    pub fn glimpse(&self, db: u32) -> Option<Glimpse<'_>> {
        if db as usize >= DATABASES {
            return None;
        }
        let watcher = SEAT.try_with(|seat| seat.0).ok()??;
        let turn = watcher.turns.load(Ordering::Relaxed);
        watcher.turns.store(turn + 1, Ordering::Relaxed);
        // Whoever frees something sees that this began, or this sees that it is
        // not to be reached any more.
        fence(Ordering::SeqCst);
        Some(Glimpse {
            keyspace: self,
            db,
            watcher,
            thread: PhantomData,
        })
    }

    /// Fetches the head of a slot's table, which [`Glimpse::fetch_bucket`] reads.
    #[inline]
    pub fn fetch_table(&self, db: u32, slot: u16) {
        prefetch(std::ptr::from_ref(&self.stripes[stripe_of(slot)]).cast());
        if let Some(place) = self.places.get(place_of(db, stripe_of(slot))) {
            let tables = place.load(Ordering::Relaxed) as *const Table<Entry>;
            prefetch(
                tables
                    .wrapping_add(usize::from(slot) % SLOTS_PER_STRIPE)
                    .cast(),
            );
        }
    }

    /// Looks for a share that has no place yet, unless its stripe is locked.
    #[cold]
    fn look_for_share(&self, db: u32, stripe: usize) {
        Held::glance(&self.stripes, stripe, |stripe_dbs| {
            if let Some(Some(share)) = stripe_dbs.dbs.get_mut(self.physical(db) as usize) {
                let at = place_of(db, stripe);
                self.places[at].store(share.tables.as_ptr() as usize, Ordering::Release);
                share.sight = Some(Sight {
                    places: Arc::clone(&self.places),
                    at,
                });
            }
        });
    }

    /// Gives up the places of a database that is about to be another physical one.
    /// The caller holds every stripe.
    pub(super) fn give_up_places(&self, db: u32) {
        let places = place_of(db, 0)..place_of(db + 1, 0);
        for place in self.places.get(places).into_iter().flatten() {
            place.store(0, Ordering::Relaxed);
        }
    }
}

#[inline]
fn place_of(db: u32, stripe: usize) -> usize {
    db as usize * STRIPES + stripe
}

impl Glimpse<'_> {
    /// Fetches the bucket that a key falls in.
    #[inline]
    pub fn fetch_bucket(&self, slot: u16, hash: u64) {
        match self.table(slot) {
            // SAFETY: see `table`.
            Some(table) => unsafe { Table::fetch_bucket(table, hash) },
            None => self.keyspace.look_for_share(self.db, stripe_of(slot)),
        }
    }

    /// Fetches the entry that a key is likely to have.
    #[inline]
    pub fn fetch_entry(&self, slot: u16, hash: u64) {
        if let Some(table) = self.table(slot) {
            // SAFETY: see `table`.
            unsafe { Table::fetch_element(table, hash) };
        }
    }

    /// A slot's table. It is there as long as this glimpse lasts: its share waits
    /// for the end before it goes, see [`Sight`]; so does an array of buckets.
    #[inline]
    fn table(&self, slot: u16) -> Option<*const Table<Entry>> {
        debug_assert!(usize::from(slot) < SLOT_COUNT);
        let place = &self.keyspace.places[place_of(self.db, stripe_of(slot))];
        let tables = place.load(Ordering::Acquire) as *const Table<Entry>;
        let table = tables.wrapping_add(usize::from(slot) % SLOTS_PER_STRIPE);
        (!tables.is_null()).then_some(table)
    }
}

impl Drop for Glimpse<'_> {
    #[inline]
    fn drop(&mut self) {
        let turn = self.watcher.turns.load(Ordering::Relaxed);
        self.watcher.turns.store(turn + 1, Ordering::Release);
    }
}

/// That a share can be looked at; dropped with it.
pub struct Sight {
    places: Places,
    at: usize,
}

impl Sight {
    /// Takes a share out of sight.
    pub fn end(self, share: &StripeDb) {
        let address = share.tables.as_ptr() as usize;
        // Another share may have come in its place.
        let place = &self.places[self.at];
        let _ = place.compare_exchange(address, 0, Ordering::Relaxed, Ordering::Relaxed);
        wait_for_glimpses();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::KeyRef;
    use crate::keyspace::db::Db;
    use crate::keyspace::stripe::StripeSet;
    use std::sync::mpsc::channel;

    #[test]
    fn what_a_glimpse_may_read_is_freed_after_its_end() {
        let keyspace = Keyspace::new(1);
        let (ended, wait) = channel();
        let glimpse = keyspace.glimpse(0).expect("a seat");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                wait_for_glimpses();
                ended.send(()).expect("somebody waits");
            });
            let early = wait.recv_timeout(std::time::Duration::from_millis(50));
            assert!(early.is_err(), "it did not wait");
            drop(glimpse);
            wait.recv().expect("it ends");
        });
        wait_for_glimpses();
    }

    #[test]
    fn a_database_can_be_looked_at_whatever_its_physical_number_is() {
        let keyspace = Keyspace::new(16);
        let key = KeyRef::new(b"key");
        let place_is_of = |db: u32, value: &[u8]| {
            let mut opened = Db::open(&keyspace, StripeSet::ALL, db, 1);
            opened
                .set_string(b"key", value, None)
                .expect("it is in RAM");
            drop(opened);
            let glimpse = keyspace.glimpse(db).expect("a seat");
            glimpse.fetch_bucket(key.slot, key.hash);
            let seen = glimpse.table(key.slot).expect("it was looked for");
            drop(glimpse);
            let mut held = keyspace.lock(StripeSet::ALL);
            let dbs = &mut held.stripe(stripe_of(key.slot)).dbs;
            let share = dbs[keyspace.physical(db) as usize].as_ref();
            let table =
                &share.expect("it has a key").tables[usize::from(key.slot) % SLOTS_PER_STRIPE];
            assert!(std::ptr::eq(seen, table), "another database's");
        };
        let give_up = |change: &dyn Fn(&mut Held<'_>)| change(&mut keyspace.lock(StripeSet::ALL));
        for _ in 0..3 {
            place_is_of(0, b"0");
            place_is_of(15, b"15");
            give_up(&|_| keyspace.swap(0, 15));
            place_is_of(15, b"0");
            place_is_of(0, b"15");
            // As if the tree had rows of all: each flush takes an unused number.
            keyspace.numbers.lock().cut();
            give_up(&|held| keyspace.retire(held, 0));
            assert!(keyspace.physical(0) >= 16);
        }
    }

    #[test]
    fn tables_are_looked_at_while_they_grow_shrink_and_go() {
        let keyspace = Keyspace::new(1);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut n = 0u32;
                    while !done.load(Ordering::Relaxed) {
                        let Some(glimpse) = keyspace.glimpse(0) else {
                            panic!("no seat");
                        };
                        for _ in 0..64 {
                            n = n.wrapping_add(1);
                            let key = format!("{{a}}{}", n % 3000);
                            let key = KeyRef::new(key.as_bytes());
                            glimpse.fetch_bucket(key.slot, key.hash);
                            glimpse.fetch_entry(key.slot, key.hash);
                        }
                    }
                });
            }
            for round in 0..30 {
                for n in 0..3000 {
                    let key = format!("{{a}}{n}");
                    let mut db = Db::open(&keyspace, StripeSet::ALL, 0, 1);
                    match round % 3 {
                        0 | 1 => db.set_string(key.as_bytes(), b"value", None).map(|_| ()),
                        _ => db.delete(key.as_bytes()).map(|_| ()),
                    }
                    .expect("it is in RAM");
                }
                if round % 3 == 1 {
                    let mut held = keyspace.lock(StripeSet::ALL);
                    keyspace.retire(&mut held, 0);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
