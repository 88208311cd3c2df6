//! What the clients' buffers take together, and what is done when that is more
//! than `maxmemory-clients`: the largest are closed. While that directive is 0
//! nothing is added up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::client::Client;
use crate::state::Server;
use crate::stats::add;

/// What the table of watched keys, channels or prefixes takes for one of them,
/// besides its name, in bytes.
const LISTED_BYTES: u64 = 64;

/// What a client holds besides its buffers, in bytes.
#[derive(Default)]
pub struct Held {
    /// Commands queued in MULTI.
    pub queued: AtomicU64,
    /// Watched keys.
    pub watched: AtomicU64,
    /// Channels and patterns that it listens to.
    pub subscribed: AtomicU64,
    /// Prefixes of CLIENT TRACKING.
    pub tracked: AtomicU64,
    /// What of it all is part of [`ClientMemory::total`].
    counted: AtomicU64,
}

impl Held {
    /// All of it, in bytes.
    pub fn bytes(&self) -> u64 {
        [&self.queued, &self.watched, &self.subscribed, &self.tracked]
            .iter()
            .map(|bytes| bytes.load(Relaxed))
            .sum()
    }
}

/// What a name in one of the server's tables takes.
pub fn listed_bytes(name: &[u8]) -> u64 {
    name.len() as u64 + LISTED_BYTES
}

/// What all clients take.
#[derive(Default)]
pub struct ClientMemory {
    total: AtomicI64,
    evicting: Mutex<()>,
    /// How many were closed.
    pub evicted: AtomicU64,
}

impl ClientMemory {
    /// Brings the sum up to date for a client, and closes clients if it is too
    /// large.
    #[inline]
    pub fn account(&self, server: &Server, client: &Client) {
        if server.settings.maxmemory_clients.load(Relaxed) != 0 {
            self.account_one(server, client);
        }
    }

    #[cold]
    fn account_one(&self, server: &Server, client: &Client) {
        let now = client.memory_bytes();
        let before = client.held.counted.swap(now, Relaxed);
        let difference = now as i64 - before as i64;
        let total = self.total.fetch_add(difference, Relaxed) + difference;
        if total > server.settings.maxmemory_clients.load(Relaxed) as i64 {
            self.evict(server);
        }
    }

    /// Forgets a client that is gone.
    pub fn forget(&self, client: &Client) {
        let counted = client.held.counted.swap(0, Relaxed);
        self.total.fetch_sub(counted as i64, Relaxed);
    }

    /// Adds all clients up anew and closes the largest, one after the other,
    /// until the rest is within the limit.
    pub fn evict(&self, server: &Server) {
        let limit = server.settings.maxmemory_clients.load(Relaxed);
        if limit == 0 {
            return;
        }
        let _one_at_a_time = self.evicting.lock();
        let measure = |client: Arc<Client>| (client.memory_bytes(), client);
        let mut all: Vec<(u64, Arc<Client>)> =
            server.clients.all().into_iter().map(measure).collect();
        let mut total: u64 = all.iter().map(|(bytes, _)| bytes).sum();
        all.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, client) in all {
            let kept = [
                &client.no_evict,
                &client.monitor,
                &client.replica,
                &client.primary,
            ];
            let spared = kept.iter().any(|flag| flag.load(Relaxed));
            if total > limit && !spared {
                tracing::info!(
                    client = client.id,
                    bytes,
                    "closing a client: maxmemory-clients"
                );
                client.kill();
                server.clients.remove(client.id);
                client.held.counted.store(0, Relaxed);
                total -= bytes;
                add(&self.evicted, 1);
            } else {
                client.held.counted.store(bytes, Relaxed);
            }
        }
        self.total.store(total as i64, Relaxed);
    }
}
