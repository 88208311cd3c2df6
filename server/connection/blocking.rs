//! Blocked clients: who waits for which key, in the order of arrival.
//!
//! A command that must wait registers a [`Waiter`] while its keys' stripes are
//! locked, so no change can slip in between. Whoever changes a key that
//! somebody waits for runs the waiting command on the waiter's behalf, after
//! its own command and before its next one (see `serve.rs`).
//!
//! | state | meaning | who may change it |
//! |---|---|---|
//! | `WAITING` | in the queues | who takes it |
//! | `SERVED` | being served, with its keys' stripes locked | who serves it, at once |
//! | `TAKEN` | its wait being ended | who took it |
//! | `DONE` | answered, out of the queues | nobody |

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::client::Client;
use super::room;
use crate::cluster::slot_order::SlotOrder;
use crate::commands::command::{Command, Group, flag};
use crate::replication::replicas::Acks;
use crate::resp::reply::ReplyBuffer;
use crate::shutdown;

/// What a client gets when its time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutReply {
    /// A null array.
    NullArray,
    /// A null.
    Null,
    /// How many replicas, and whether the disk, have what was written by then
    /// (WAIT, WAITAOF).
    Acks(Acks),
    /// What becomes of CLUSTER SETSLOT, which waits for the replicas.
    SlotOrder(SlotOrder),
    /// Nothing: it is a script that was set aside, which answers when it ends.
    Script,
    /// That the shutdown of this number has come to nothing.
    Shutdown(u64),
}

impl TimeoutReply {
    /// Writes it.
    pub fn write(self, reply: &mut ReplyBuffer) {
        match self {
            TimeoutReply::Null => reply.null(),
            TimeoutReply::NullArray => reply.null_array(),
            TimeoutReply::Acks(acks) => acks.write(reply),
            TimeoutReply::SlotOrder(order) => order.conclude(reply),
            TimeoutReply::Script => {}
            TimeoutReply::Shutdown(_) => reply.error(shutdown::FAILED),
        }
    }

    /// What replicas have to acknowledge, if that ends the wait.
    pub fn acks(self) -> Option<Acks> {
        match self {
            TimeoutReply::Acks(acks) => Some(acks),
            TimeoutReply::SlotOrder(order) => Some(order.acks),
            _ => None,
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
    /// The arguments to run the command with again, if not those it came with
    /// (XREAD: `$` made an id).
    pub args: Option<Vec<Vec<u8>>>,
}

/// How long somebody who ends a wait waits at most for who serves it.
const PATIENCE: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const SERVED: u8 = 1;
const TAKEN: u8 = 2;
const DONE: u8 = 3;

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
    /// CLIENT REPLY suppresses its reply.
    pub silent: bool,
    /// Grows from one waiter to the next: the order of arrival.
    number: u64,
    state: AtomicU8,
}

impl Waiter {
    /// A waiter that is not queued yet. Made while its keys' stripes are
    /// locked, so that numbers tell who came first to a key.
    pub fn new(
        client: Arc<Client>,
        db: u32,
        command: &'static Command,
        args: Vec<Vec<u8>>,
        request: BlockRequest,
        silent: bool,
    ) -> Arc<Waiter> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Waiter {
            silent,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            client,
            db,
            command,
            args,
            keys: request.keys,
            on_timeout: request.on_timeout,
            state: AtomicU8::new(WAITING),
        })
    }

    /// Claims it to serve it, unless its client is to be closed. Its keys'
    /// stripes are locked: who has been told that the client is closed, and
    /// changes one of the keys after that, changes it for others.
    pub fn take_to_serve(&self) -> bool {
        !self.client.killed.load(Ordering::Acquire) && self.claim_as(SERVED).is_ok()
    }

    /// Claims the waiter to end its wait. Only one succeeds.
    pub fn take(&self) -> bool {
        self.claim_as(TAKEN).is_ok()
    }

    fn claim_as(&self, state: u8) -> Result<u8, u8> {
        self.state
            .compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Claims it to end its wait, unless somebody else ends it. Who serves it has
    /// all his locks, and either answers it or gives it back at once; so that
    /// is waited for, whatever the caller has locked; though not for ever.
    pub fn claim(&self) -> bool {
        let began = Instant::now();
        loop {
            match self.claim_as(TAKEN) {
                Ok(_) => return true,
                Err(SERVED) if began.elapsed() < PATIENCE => std::thread::yield_now(),
                Err(_) => return false,
            }
        }
    }

    /// Claims it to end its wait, unless it waits for nothing but its own script,
    /// or for the server's end.
    pub fn interrupt(&self) -> bool {
        self.on_timeout != TimeoutReply::Script && !self.is_for_the_end() && self.claim()
    }

    /// Whether it is there until the server ends.
    pub fn is_for_the_end(&self) -> bool {
        matches!(self.on_timeout, TimeoutReply::Shutdown(_))
    }

    /// Gives a claimed waiter back: it could not be served.
    pub fn put_back(&self) {
        self.state.store(WAITING, Ordering::Release);
    }

    /// Writes what it answers when its time is over.
    pub fn reply_timeout(&self, reply: &mut ReplyBuffer) {
        self.on_timeout.write(reply);
    }

    /// Whether it is told when a key is gone, or is of another type: the group
    /// that XREADGROUP waits for goes with its key.
    pub fn minds_absence(&self) -> bool {
        self.command.group == Group::Stream && self.command.has(flag::WRITE)
    }

    /// Its place in the order of arrival.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Marks a claimed waiter as answered; its reply must have been sent, for
    /// its connection goes on at once.
    pub fn finish(&self) {
        self.state.store(DONE, Ordering::Release);
    }

    /// Whether it has been answered.
    pub fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }
}

/// By database and key: waiters by their number.
type Queues = HashMap<u32, HashMap<Box<[u8]>, BTreeMap<u64, Arc<Waiter>>>>;

/// Everybody who waits.
#[derive(Default)]
pub struct Blocked {
    queues: Mutex<Queues>,
    clients: AtomicUsize,
    turn: Mutex<()>,
    put_off: Mutex<Vec<(u32, Box<[u8]>)>>,
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
        self.queues.lock().values().map(HashMap::len).sum()
    }

    /// How many keys somebody waits for who minds their absence.
    pub fn keys_that_must_be(&self) -> usize {
        let queues = self.queues.lock();
        let queues = queues.values().flat_map(HashMap::values);
        queues
            .filter(|queue| queue.values().any(|waiter| waiter.minds_absence()))
            .count()
    }

    /// The right to serve waiters. Only one thread has it, so a waiter that
    /// is found taken is not missed: whoever took it ends its wait. No stripe may be
    /// locked by the caller.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Notes a key whose waiters could not be looked after: a long script had
    /// one of their keys.
    pub fn put_off(&self, db: u32, key: Box<[u8]>) {
        let mut keys = self.put_off.lock();
        if !keys.iter().any(|other| other.0 == db && other.1 == key) {
            keys.push((db, key));
        }
    }

    /// Those keys; they are forgotten.
    pub fn take_put_off(&self) -> Vec<(u32, Box<[u8]>)> {
        std::mem::take(&mut self.put_off.lock())
    }

    /// Queues a waiter under each of its keys.
    pub fn add(&self, waiter: &Arc<Waiter>) {
        let mut queues = self.queues.lock();
        let queues = queues.entry(waiter.db).or_default();
        for key in &waiter.keys {
            let queue = queues.entry(key.as_slice().into()).or_default();
            queue.insert(waiter.number, waiter.clone());
        }
        self.clients.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a waiter out of all queues.
    pub fn remove(&self, waiter: &Waiter) {
        let mut queues = self.queues.lock();
        if let Some(queues) = queues.get_mut(&waiter.db) {
            for key in &waiter.keys {
                let Some(queue) = queues.get_mut(key.as_slice()) else {
                    continue;
                };
                queue.remove(&waiter.number);
                if queue.is_empty() {
                    queues.remove(key.as_slice());
                    room::give_back(queues);
                }
            }
        }
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether anybody waits for a key.
    pub fn waits_for(&self, db: u32, key: &[u8]) -> bool {
        let queues = self.queues.lock();
        queues
            .get(&db)
            .is_some_and(|queues| queues.contains_key(key))
    }

    /// The first who waits for a key, came after the one with this number, and
    /// is `wanted`.
    pub fn next(
        &self,
        db: u32,
        key: &[u8],
        number: u64,
        wanted: impl Fn(&Waiter) -> bool,
    ) -> Option<Arc<Waiter>> {
        let queues = self.queues.lock();
        let queue = queues.get(&db)?.get(key)?;
        let later = (Bound::Excluded(number), Bound::Unbounded);
        let mut later = queue.range(later).map(|(_, waiter)| waiter);
        later.find(|waiter| wanted(waiter)).cloned()
    }

    /// The waited-for keys of a database, for SWAPDB and FLUSHALL.
    pub fn keys_of(&self, db: u32) -> Vec<Vec<u8>> {
        let queues = self.queues.lock();
        queues.get(&db).map_or(Vec::new(), |queues| {
            queues.keys().map(|key| key.to_vec()).collect()
        })
    }
}
