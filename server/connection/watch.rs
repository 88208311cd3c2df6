//! WATCH: which clients' transactions a change of a key breaks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::Client;
use super::room;

/// Clients by database and key.
type Watchers = HashMap<(u32, Box<[u8]>), Vec<Arc<Client>>>;

/// Watched keys with their watchers.
#[derive(Default)]
pub struct Watches {
    by_key: Mutex<Watchers>,
    count: AtomicUsize,
}

impl Watches {
    /// Whether anything is watched.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// How many keys are watched.
    pub fn keys(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Begins to watch; the key's stripe is locked by the caller.
    pub fn add(&self, db: u32, key: &[u8], client: &Arc<Client>) {
        let mut by_key = self.by_key.lock();
        by_key
            .entry((db, key.into()))
            .or_default()
            .push(client.clone());
        self.count.store(by_key.len(), Ordering::Release);
    }

    /// Ends a watch.
    pub fn remove(&self, db: u32, key: &[u8], client: &Arc<Client>) {
        let mut by_key = self.by_key.lock();
        let place = (db, Box::from(key));
        if let Some(clients) = by_key.get_mut(&place) {
            clients.retain(|other| other.id != client.id);
            if clients.is_empty() {
                by_key.remove(&place);
                room::give_back(&mut by_key);
            }
        }
        self.count.store(by_key.len(), Ordering::Release);
    }

    /// Breaks the transactions that watch a key; called while its stripe is
    /// still locked.
    pub fn touch(&self, db: u32, key: &[u8]) {
        if let Some(clients) = self.by_key.lock().get(&(db, Box::from(key))) {
            clients
                .iter()
                .for_each(|client| client.watch_broken.store(true, Ordering::Release));
        }
    }

    /// Breaks every transaction that watches anything.
    pub fn touch_all(&self) {
        for client in self.by_key.lock().values().flatten() {
            client.watch_broken.store(true, Ordering::Release);
        }
    }

    /// The watched keys of a database (SWAPDB, FLUSHALL).
    pub fn keys_of(&self, db: u32) -> Vec<Vec<u8>> {
        let by_key = self.by_key.lock();
        by_key
            .keys()
            .filter(|(of, _)| *of == db)
            .map(|(_, key)| key.to_vec())
            .collect()
    }
}
