//! The server's part in replication, as all threads see it: its role, its
//! history, the link to its primary, and the replicas that follow it.
//!
//! What changes the role does so under the locks of all stripes, and begins a
//! new *generation*: a command of a former primary's stream that comes late
//! finds itself outdated under its own stripe's lock, and is not run.

pub mod identity;
pub mod replicas;
pub mod spare;

use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redoubt_cluster::replication::ReplicationId;
use redoubt_cluster::replication::link::Phase;

use crate::connection::client::Client;
use crate::state::random_id;
use identity::Identity;
use replicas::Replicas;

/// A primary to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The link to our primary.
#[derive(Default)]
pub struct LinkStatus {
    /// The phase, and above its eight bits the generation that it is of.
    phase: AtomicU64,
    /// The generation that counts: another's link is not up any more.
    generation: AtomicU64,
    /// Milliseconds of [`Replication::now_ms`] at which bytes last came.
    pub heard_ms: AtomicU64,
    /// Likewise, of the stream: what was said before it tells nothing of how old
    /// the data is. 0: none came since the start, or since we were a primary.
    pub followed_ms: AtomicU64,
    /// Since when the link is down, likewise.
    pub down_since_ms: AtomicU64,
    /// Bytes of the snapshot received so far.
    pub loaded_bytes: AtomicU64,
    /// Bytes of the stream received.
    pub received_bytes: AtomicU64,
    /// The connection, so that others can cut it.
    socket: Mutex<Option<TcpStream>>,
    /// The primary as a client, while connected.
    pub client: Mutex<Option<Arc<Client>>>,
}

impl LinkStatus {
    /// Notes what the link of a generation does.
    pub fn set_phase(&self, generation: u64, phase: Phase) {
        let noted = generation << 8 | u64::from(phase as u8);
        self.phase.store(noted, Ordering::Release);
    }

    /// What the link does.
    pub fn phase(&self) -> Phase {
        let noted = self.phase.load(Ordering::Acquire);
        if noted >> 8 != self.generation.load(Ordering::Acquire) {
            return Phase::Waiting;
        }
        let phase = noted as u8;
        [
            Phase::Waiting,
            Phase::Connecting,
            Phase::HandShake,
            Phase::Syncing,
        ]
        .into_iter()
        .find(|known| *known as u8 == phase)
        .unwrap_or(Phase::Streaming)
    }

    /// Whether we follow the stream.
    pub fn is_up(&self) -> bool {
        self.phase() == Phase::Streaming
    }

    /// Notes that bytes came.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
        if self.is_up() {
            self.followed_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Takes note of the connection.
    pub fn set_socket(&self, socket: Option<TcpStream>) {
        *self.socket.lock() = socket;
    }

    /// Ends the connection, if there is one.
    pub fn cut(&self) {
        if let Some(socket) = &*self.socket.lock() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A bell that many can wait for.
#[derive(Default)]
pub struct Bell {
    rings: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// Wakes all who wait.
    pub fn ring(&self) {
        *self.rings.lock() += 1;
        self.changed.notify_all();
    }

    /// How often it was rung; ask before looking at what the bell is for.
    pub fn rings(&self) -> u64 {
        *self.rings.lock()
    }

    /// Waits until it has been rung more often than `seen`, or for `time`.
    pub fn wait(&self, seen: u64, time: Duration) {
        let deadline = Instant::now() + time;
        let mut rings = self.rings.lock();
        while *rings == seen {
            if self.changed.wait_until(&mut rings, deadline).timed_out() {
                return;
            }
        }
    }
}

/// The server's part in replication.
pub struct Replication {
    is_replica: AtomicBool,
    generation: AtomicU64,
    identity: Mutex<Identity>,
    /// Copies of the identity's, for those who must not wait.
    base: AtomicI64,
    astray: AtomicBool,
    target: Mutex<Option<Target>>,
    /// Rung when the target changes.
    pub target_bell: Bell,
    /// The link to our primary.
    pub link: LinkStatus,
    /// Those who follow us.
    pub replicas: Replicas,
    /// Rung when the log was written or synced.
    pub log_bell: Bell,
    /// Full syncs that we gave.
    pub full_syncs: AtomicU64,
    /// Partial resyncs that we gave.
    pub partial_syncs: AtomicU64,
    /// Partial resyncs that we refused.
    pub partial_refusals: AtomicU64,
    /// Bytes of stream and snapshots that we sent.
    pub sent_bytes: AtomicU64,
    /// Where the identity is kept; unset for a pure cache.
    pub directory: OnceLock<PathBuf>,
    /// When replicas that waited for each other were last let go, on the clock
    /// of [`Replication::now_ms`].
    pub let_go_ms: AtomicU64,
    /// Threads that send snapshots at the moment.
    pub snapshots: AtomicUsize,
    /// Until when DEBUG SLEEP keeps us from telling replicas that we are there,
    /// likewise.
    pub silent_until_ms: AtomicU64,
    /// The failover under way.
    pub failover: crate::runtime::replication::failover::Failover,
    started: Instant,
}

impl Replication {
    /// A primary with a history of its own.
    pub fn new() -> Replication {
        Replication {
            is_replica: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            identity: Mutex::new(Identity::new(new_id())),
            base: AtomicI64::new(0),
            astray: AtomicBool::new(false),
            target: Mutex::new(None),
            target_bell: Bell::default(),
            link: LinkStatus::default(),
            replicas: Replicas::default(),
            log_bell: Bell::default(),
            full_syncs: AtomicU64::new(0),
            partial_syncs: AtomicU64::new(0),
            partial_refusals: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            directory: OnceLock::new(),
            let_go_ms: AtomicU64::new(0),
            snapshots: AtomicUsize::new(0),
            silent_until_ms: AtomicU64::new(0),
            failover: Default::default(),
            started: Instant::now(),
        }
    }

    /// Whether the server follows a primary.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.is_replica.load(Ordering::Relaxed)
    }

    /// The number of the role; it grows whenever the role changes.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Milliseconds on a clock that is never set back.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Whether nothing is to be said that only shows that we are there.
    pub fn is_silent(&self) -> bool {
        self.now_ms() < self.silent_until_ms.load(Ordering::Relaxed)
    }

    /// Names and offsets of the history.
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// The name of the history.
    pub fn id(&self) -> ReplicationId {
        self.identity.lock().history.id
    }

    /// The offset of the stream at an offset of the log.
    pub fn stream_offset(&self, log_offset: u64) -> u64 {
        log_offset.wrapping_add_signed(self.base.load(Ordering::Acquire))
    }

    /// The offset of the log at an offset of the stream.
    pub fn log_offset(&self, stream_offset: u64) -> u64 {
        stream_offset.wrapping_sub(self.base.load(Ordering::Acquire) as u64)
    }

    /// Changes the identity; it is on disk when this returns without error.
    pub fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> std::io::Result<()> {
        self.change(&mut self.identity.lock(), change)
    }

    fn change(
        &self,
        identity: &mut Identity,
        change: impl FnOnce(&mut Identity),
    ) -> std::io::Result<()> {
        let mut next = identity.clone();
        change(&mut next);
        if let Some(directory) = self.directory.get() {
            next.save(directory)?;
        }
        self.base.store(next.base, Ordering::Release);
        self.astray.store(next.astray, Ordering::Release);
        *identity = next;
        Ok(())
    }

    /// A client of this replica is about to write what its log will not tell,
    /// or its log is to tell what failed here. It may once this returns without
    /// error.
    pub fn go_astray(&self) -> std::io::Result<()> {
        match self.astray.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.change_identity(|identity| identity.astray = true),
        }
    }

    /// The tree has taken over what a primary shows, as of a moment in this
    /// generation: it and the log lead to it from there on.
    pub fn end_astray(&self, generation: u64) -> std::io::Result<()> {
        let mut identity = self.identity.lock();
        match identity.astray && self.generation() == generation {
            true => self.change(&mut identity, |identity| identity.astray = false),
            false => Ok(()),
        }
    }

    /// The primary that we follow.
    pub fn target(&self) -> Option<Target> {
        self.target.lock().clone()
    }

    /// Sets whom to follow, and begins a new generation. Called with all
    /// stripes locked, or before anything runs.
    pub fn set_target(&self, target: Option<Target>) {
        // No other generation's state is settled meanwhile.
        let _identity = self.identity.lock();
        self.is_replica.store(target.is_some(), Ordering::Relaxed);
        crate::logging::set_role(target.is_some());
        crate::oom::set_role(target.is_some());
        if target.is_none() {
            self.link.followed_ms.store(0, Ordering::Relaxed);
        }
        *self.target.lock() = target;
        let now_ms = self.now_ms();
        self.link.down_since_ms.store(now_ms, Ordering::Relaxed);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.link.generation.store(generation, Ordering::Release);
        self.link.cut();
        self.target_bell.ring();
    }
}

impl Default for Replication {
    fn default() -> Self {
        Replication::new()
    }
}

/// A random name for a history.
pub fn new_id() -> ReplicationId {
    ReplicationId::parse(random_id().as_bytes()).expect("forty hexadecimal digits")
}
