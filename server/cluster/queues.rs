//! How much waits to be sent on each connection of the bus.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use redoubt_cluster::table::LinkId;

/// What a connection costs besides what waits on it, in bytes, roughly.
const LINK_BYTES: usize = 128;

/// Bytes that wait on one connection.
#[derive(Clone, Debug, Default)]
pub struct LinkQueue(Arc<AtomicUsize>);

impl LinkQueue {
    /// A packet of this length waits.
    pub fn add(&self, len: usize) {
        self.0.fetch_add(len, Ordering::Relaxed);
    }

    /// It has been sent.
    pub fn take(&self, len: usize) {
        self.0.fetch_sub(len, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct LinkQueues {
    open: Mutex<HashMap<LinkId, Weak<AtomicUsize>>>,
    /// `cluster-link-sendbuf-limit`, bytes; 0: none.
    pub limit: AtomicUsize,
    exceeded: AtomicU64,
}

impl LinkQueues {
    /// The count of a new connection; it lives as long as the connection.
    pub fn open(&self, link: LinkId) -> LinkQueue {
        let queue = LinkQueue::default();
        let mut open = self.open.lock();
        open.retain(|_, queue| queue.strong_count() > 0);
        open.insert(link, Arc::downgrade(&queue.0));
        queue
    }

    /// Bytes that wait on a connection.
    pub fn bytes(&self, link: LinkId) -> usize {
        let queue = self.open.lock().get(&link).and_then(Weak::upgrade);
        queue.map_or(0, |queue| LinkQueue(queue).bytes())
    }

    /// Bytes that all connections take.
    pub fn memory_bytes(&self) -> usize {
        let open = self.open.lock();
        let queues = open.values().filter_map(Weak::upgrade);
        queues
            .map(|queue| LINK_BYTES + LinkQueue(queue).bytes())
            .sum()
    }

    /// Whether more waits than is allowed.
    pub fn exceeds_limit(&self, queue: &LinkQueue) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit != 0 && queue.bytes() > limit
    }

    /// A connection was closed for that.
    pub fn count_exceeded(&self) {
        self.exceeded.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    pub fn exceeded(&self) -> u64 {
        self.exceeded.load(Ordering::Relaxed)
    }
}
