//! Blocked clients: who waits for which key, in the order of arrival.
//!
//! A command that must wait registers a [`Waiter`] while its keys' stripes are
//! locked, so no change can slip in between. Whoever changes a key that
//! somebody waits for runs the waiting command on the waiter's behalf, after
//! its own command and before its next one (see `dispatch.rs`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::Client;
use crate::commands::command::Command;
use crate::resp::reply::ReplyBuffer;

/// What a client gets when its time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutReply {
    /// A null array.
    NullArray,
    /// A null.
    Null,
    /// The integer 0: no replica has acknowledged (WAIT).
    Zero,
    /// Whether the local log, and how many replicas (none) have acknowledged
    /// (WAITAOF).
    Acknowledged {
        /// 1 if the local log has synced.
        local: i64,
    },
}

impl TimeoutReply {
    /// Writes it.
    pub fn write(self, reply: &mut ReplyBuffer) {
        match self {
            TimeoutReply::Null => reply.null(),
            TimeoutReply::NullArray => reply.null_array(),
            TimeoutReply::Zero => reply.integer(0),
            TimeoutReply::Acknowledged { local } => {
                reply.array(2);
                reply.integer(local);
                reply.integer(0);
            }
        }
    }
}

/// What a command asks for that can't be served yet.
#[derive(Debug)]
pub struct BlockRequest {
    /// The keys to wait for.
    pub keys: Vec<Vec<u8>>,
    /// How long; 0 is for ever.
    pub timeout_ms: u64,
    /// What to answer then.
    pub on_timeout: TimeoutReply,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const DONE: u8 = 2;

/// A blocked command.
pub struct Waiter {
    /// Whose it is.
    pub client: Arc<Client>,
    /// Its logical database.
    pub db: u32,
    /// The command.
    pub command: &'static Command,
    /// Its arguments, perhaps rewritten by it (`$` made an id).
    pub args: Vec<Vec<u8>>,
    /// The keys it waits for.
    pub keys: Vec<Vec<u8>>,
    /// What it answers when time is over.
    pub on_timeout: TimeoutReply,
    state: AtomicU8,
}

impl Waiter {
    /// A waiter that is not queued yet.
    pub fn new(
        client: Arc<Client>,
        db: u32,
        command: &'static Command,
        args: Vec<Vec<u8>>,
        request: BlockRequest,
    ) -> Arc<Waiter> {
        Arc::new(Waiter {
            client,
            db,
            command,
            args,
            keys: request.keys,
            on_timeout: request.on_timeout,
            state: AtomicU8::new(WAITING),
        })
    }

    /// Claims the waiter: to serve it, or to end its wait. Only one succeeds.
    pub fn take(&self) -> bool {
        self.state
            .compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Gives a claimed waiter back: it could not be served.
    pub fn put_back(&self) {
        self.state.store(WAITING, Ordering::Release);
    }

    /// Marks a claimed waiter as answered.
    pub fn finish(&self) {
        self.state.store(DONE, Ordering::Release);
    }

    /// Whether it has been answered.
    pub fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }
}

type Queues = HashMap<(u32, Box<[u8]>), VecDeque<Arc<Waiter>>>;

/// Everybody who waits.
#[derive(Default)]
pub struct Blocked {
    queues: Mutex<Queues>,
    clients: AtomicUsize,
}

impl Blocked {
    /// How many clients wait.
    #[inline]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }

    /// Counts a client whose command waits for the end of CLIENT PAUSE.
    pub fn postpone(&self) {
        self.clients.fetch_add(1, Ordering::AcqRel);
    }

    /// Undoes [`Blocked::postpone`].
    pub fn resume(&self) {
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many keys are waited for.
    pub fn keys(&self) -> usize {
        self.queues.lock().len()
    }

    /// Queues a waiter under each of its keys.
    pub fn add(&self, waiter: &Arc<Waiter>) {
        let mut queues = self.queues.lock();
        for (index, key) in waiter.keys.iter().enumerate() {
            if waiter.keys[..index].contains(key) {
                continue;
            }
            let queue = queues
                .entry((waiter.db, key.as_slice().into()))
                .or_default();
            queue.push_back(waiter.clone());
        }
        self.clients.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a waiter out of all queues.
    pub fn remove(&self, waiter: &Arc<Waiter>) {
        let mut queues = self.queues.lock();
        for (index, key) in waiter.keys.iter().enumerate() {
            if waiter.keys[..index].contains(key) {
                continue;
            }
            let place = (waiter.db, Box::from(key.as_slice()));
            if let Some(queue) = queues.get_mut(&place) {
                queue.retain(|other| !Arc::ptr_eq(other, waiter));
                if queue.is_empty() {
                    queues.remove(&place);
                }
            }
        }
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// Those who wait for a key, first come first.
    pub fn waiting_for(&self, db: u32, key: &[u8]) -> Vec<Arc<Waiter>> {
        let queues = self.queues.lock();
        queues
            .get(&(db, Box::from(key)))
            .map_or(Vec::new(), |q| q.iter().cloned().collect())
    }

    /// The waited-for keys of a database, for SWAPDB and FLUSHALL.
    pub fn keys_of(&self, db: u32) -> Vec<Vec<u8>> {
        let queues = self.queues.lock();
        queues
            .keys()
            .filter(|(of, _)| *of == db)
            .map(|(_, key)| key.to_vec())
            .collect()
    }
}
