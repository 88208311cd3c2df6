//! The replicas that follow this server, how far they are, and the clients
//! that wait for that (WAIT, WAITAOF).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use redoubt_cluster::replication::history::Position;
use redoubt_cluster::replication::peer::{Peer, Stage};

use crate::connection::blocking::Waiter;
use crate::connection::client::Client;
use crate::connection::serve;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// What WAITAOF answers when nothing here counts as on disk.
pub const APPEND_ONLY_IS_OFF: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// A connection that asks for the stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamRequest {
    /// PSYNC, rather than SYNC: it understands an answer before the payload,
    /// and acknowledges.
    pub psync: bool,
    /// Where it wants to go on.
    pub position: Option<Position>,
}

/// A replica that asked for the stream.
pub struct Replica {
    /// Its connection.
    pub client: Arc<Client>,
    /// What it told of itself, and how far it is.
    pub peer: Mutex<Peer>,
    /// See [`owed`](Replica::owed).
    pub owed: AtomicU64,
    /// The log offset from which on the log is kept for it; `u64::MAX` before.
    pub kept_from: AtomicU64,
}

impl Replica {
    /// The log offset up to which it is to be fed although its link is to end.
    pub fn owed(&self) -> u64 {
        self.owed.load(Ordering::Acquire)
    }

    /// The address that it is known by.
    pub fn ip(&self) -> String {
        let announced = self.peer.lock().announced_ip.clone();
        if !announced.is_empty() {
            return announced;
        }
        let address = &self.client.address;
        let ip = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(ip, _)| ip);
        ip.trim_start_matches('[').trim_end_matches(']').to_owned()
    }
}

/// All replicas.
#[derive(Default)]
pub struct Replicas {
    all: Mutex<Vec<Arc<Replica>>>,
    count: AtomicUsize,
    good: AtomicUsize,
    waiters: Mutex<Vec<Arc<Waiter>>>,
    /// One more than [`fence`](Replicas::fence); 0 if there is none.
    fence: AtomicU64,
    /// When one of them last acknowledged, in milliseconds of
    /// [`now_ms`](super::Replication::now_ms).
    pub heard_ms: AtomicU64,
}

impl Replicas {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many count for `min-replicas-to-write`.
    #[inline]
    pub fn good(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.all.lock().clone()
    }

    /// Those whose connection nobody has ended, oldest first.
    pub fn connected(&self) -> Vec<Arc<Replica>> {
        let mut all = self.all();
        all.retain(|replica| !replica.client.killed.load(Ordering::Relaxed));
        all
    }

    /// Adds one.
    pub fn add(&self, replica: Arc<Replica>) {
        let mut all = self.all.lock();
        all.push(replica);
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// Forgets one.
    pub fn remove(&self, client_id: u64) {
        let mut all = self.all.lock();
        all.retain(|replica| replica.client.id != client_id);
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// Ends all their links: they are to ask anew.
    pub fn disconnect(&self) {
        for replica in self.all() {
            replica.client.kill();
        }
    }

    /// The log offset from which on nothing is sent for now: it is not known yet
    /// whether those who follow us will do so when it has been logged.
    pub fn fence(&self) -> u64 {
        match self.fence.load(Ordering::Acquire) {
            0 => u64::MAX,
            beyond => beyond - 1,
        }
    }

    /// Sets the fence, or lifts it.
    pub fn set_fence(&self, log_offset: Option<u64>) {
        let beyond = log_offset.map_or(0, |offset| offset + 1);
        self.fence.store(beyond, Ordering::Release);
    }

    /// Ends all their links once they have been sent what is below the log
    /// offset `end` and the fence.
    pub fn dismiss(&self, end: u64) {
        let owed = self.fence().min(end);
        for replica in self.all() {
            replica.owed.store(owed, Ordering::Release);
            replica.client.kill();
        }
    }

    /// Counts those whose lag is small enough.
    pub fn count_good(&self, now_ms: u64, max_lag_s: u64) {
        let all = self.all.lock();
        let good = all
            .iter()
            .filter(|replica| !replica.client.killed.load(Ordering::Relaxed))
            .filter(|replica| replica.peer.lock().is_good(now_ms, max_lag_s))
            .count();
        self.good.store(good, Ordering::Relaxed);
    }

    /// How many have a stream offset: applied, or on disk.
    pub fn having(&self, stream_offset: u64, on_disk: bool) -> usize {
        let all = self.all.lock();
        all.iter()
            .filter(|replica| {
                let peer = replica.peer.lock();
                let has = if on_disk { peer.synced } else { peer.applied };
                peer.stage == Stage::Online && peer.acknowledges && has >= stream_offset
            })
            .count()
    }

    /// Whether all that have acknowledged within so many seconds have applied a
    /// stream offset; the others are as good as gone.
    pub fn all_have(&self, stream_offset: u64, now_ms: u64, silent_s: u64) -> bool {
        let connected = self.connected();
        let mut peers = connected.iter().map(|replica| replica.peer.lock());
        peers.all(|peer| peer.applied >= stream_offset || !peer.is_good(now_ms, silent_s))
    }

    /// How many are online that take CLUSTER SETSLOT from their primary:
    /// Valkey's do so from version 8 on, Redis's do not.
    pub fn taking_slot_orders(&self) -> usize {
        let all = self.all.lock();
        let takes = |replica: &&Arc<Replica>| {
            let peer = replica.peer.lock();
            peer.stage == Stage::Online && peer.version > 0x07_02_ff
        };
        all.iter().filter(takes).count()
    }

    /// Queues a client that waits for replicas or for the disk.
    pub fn await_acks(&self, waiter: Arc<Waiter>) {
        self.waiters.lock().push(waiter);
    }

    /// Answers the clients whose wait is over.
    pub fn answer_waiters(&self, server: &'static Server) {
        let ready: Vec<Arc<Waiter>> = {
            let mut waiters = self.waiters.lock();
            waiters.retain(|waiter| !waiter.is_done());
            let met = |waiter: &&Arc<Waiter>| {
                let acks = waiter.on_timeout.acks();
                acks.is_none_or(|acks| acks.are_enough())
            };
            waiters.iter().filter(met).cloned().collect()
        };
        for waiter in ready {
            if !waiter.take() {
                continue;
            }
            let mut reply = ReplyBuffer::new(waiter.client.protocol());
            waiter.reply_timeout(&mut reply);
            serve::answer(server, &waiter, &reply.buf);
        }
    }
}

/// What WAIT or WAITAOF waits for, and how it is answered.
#[derive(Clone, Copy)]
pub struct Acks {
    /// The server that knows.
    pub server: &'static Server,
    /// The log offset that others shall have.
    pub log_offset: u64,
    /// How many replicas shall have it.
    pub replicas: usize,
    /// WAITAOF: on disk, and whether here too.
    pub on_disk: Option<bool>,
}

impl Acks {
    fn replicas_having(&self) -> usize {
        let replication = &self.server.replication;
        let offset = replication.stream_offset(self.log_offset);
        replication.replicas.having(offset, self.on_disk.is_some())
    }

    fn is_on_disk_here(&self) -> bool {
        let log = self.server.log();
        self.server.counts_as_on_disk() && log.is_some_and(|log| log.synced().0 >= self.log_offset)
    }

    /// Whether what is on disk here was asked for and does not count any more.
    fn are_void(&self) -> bool {
        self.on_disk == Some(true) && !self.server.will_count_as_on_disk()
    }

    /// Whether the wait is over.
    pub fn are_enough(&self) -> bool {
        if self.are_void() {
            return true;
        }
        let here = self.on_disk != Some(true) || self.is_on_disk_here();
        here && self.replicas_having() >= self.replicas
    }

    /// Writes how many have it by now.
    pub fn write(&self, reply: &mut ReplyBuffer) {
        if self.are_void() {
            return reply.error(APPEND_ONLY_IS_OFF);
        }
        let replicas = self.replicas_having() as i64;
        if self.on_disk.is_some() {
            reply.array(2);
            reply.integer(i64::from(self.is_on_disk_here()));
        }
        reply.integer(replicas);
    }
}

impl PartialEq for Acks {
    fn eq(&self, other: &Acks) -> bool {
        (self.log_offset, self.replicas, self.on_disk)
            == (other.log_offset, other.replicas, other.on_disk)
    }
}

impl Eq for Acks {}

impl std::fmt::Debug for Acks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acks")
            .field("log_offset", &self.log_offset)
            .field("replicas", &self.replicas)
            .field("on_disk", &self.on_disk)
            .finish()
    }
}
