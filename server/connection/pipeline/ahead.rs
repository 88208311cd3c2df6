//! Keys of all connections of a worker that are about to be used.
//!
//! A lone request has nothing to hide its misses behind. But where several
//! connections run in one round, each parses its request, and all run after
//! that: what the first will touch is fetched while the others are parsed. A
//! key's table head, bucket and entry depend on each other, so each new key
//! has older ones go on by a step.

use std::cell::RefCell;

use crate::state::Server;

/// A key by database, slot and hash.
type Key = (u32, u16, u64);

/// How many keys come between two steps of one.
const LAG: usize = 3;
/// Room for the keys under way.
const RING: usize = 8;
const _: () = assert!(RING > 2 * LAG);

/// The last keys of a worker, and how many there were so far.
struct Ahead {
    keys: [Key; RING],
    added: usize,
    /// Those of them whose bucket has been asked for.
    buckets: usize,
    /// Those whose entry has.
    entries: usize,
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const {
        RefCell::new(Ahead {
            keys: [(0, 0, 0); RING],
            added: 0,
            buckets: 0,
            entries: 0,
        })
    };
}

/// Adds a key whose table's head has been asked for. False if it is among the
/// last ones, and so in the processor's caches already.
pub fn add(server: &Server, key: Key) -> bool {
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.keys.contains(&key) {
            return false;
        }
        ahead.keys[ahead.added % RING] = key;
        ahead.added += 1;
        let behind = |keys| ahead.added.saturating_sub(keys);
        ahead.go_on(server, behind(LAG), behind(2 * LAG));
        true
    })
}

/// Has all keys go on to their last step.
#[inline]
pub fn finish(server: &Server) {
    AHEAD.with_borrow_mut(|ahead| ahead.go_on(server, ahead.added, ahead.added));
}

impl Ahead {
    #[inline]
    fn go_on(&mut self, server: &Server, buckets: usize, entries: usize) {
        if self.entries >= entries && self.buckets >= buckets {
            return;
        }
        // One look does for all; where connections are in several databases,
        // keys of the others go without.
        let (wanted, ..) = self.keys[self.entries % RING];
        let glimpse = server.keyspace.glimpse(wanted);
        let glimpse_of = |db| glimpse.as_ref().filter(|_| db == wanted);
        while self.buckets < buckets {
            let (db, slot, hash) = self.keys[self.buckets % RING];
            if let Some(glimpse) = glimpse_of(db) {
                glimpse.fetch_bucket(slot, hash);
            }
            self.buckets += 1;
        }
        while self.entries < entries {
            let (db, slot, hash) = self.keys[self.entries % RING];
            if let Some(glimpse) = glimpse_of(db) {
                glimpse.fetch_entry(slot, hash);
            }
            self.entries += 1;
        }
    }
}
