//! A client as others see it: who it is, what is pushed to it, whether it is
//! to be closed. Shared between its connection's worker and everybody who
//! sends to it or lists it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot::Sender;

use super::bell::Bell;
use super::blocking::Waiter;
use super::memory::Held;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::settings::OutputLimit;
use crate::state::unix_ms;
use crate::stats::add_alone;
use crate::tracking::client::ClientTracking;

/// What a Redis server has in a client's fixed reply buffer: it counts for no
/// limit on output.
pub const FIXED_BYTES: u64 = 16 << 10;

/// What a client is, for CLIENT LIST and limits on its output.
#[derive(Clone, Default, Debug)]
pub struct ClientInfo {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// The ACL user.
    pub user: Vec<u8>,
}

/// A connected client.
pub struct Client {
    /// Ever growing, unique in this process.
    pub id: u64,
    /// The peer's address, `ip:port` or `path:0`.
    pub address: String,
    /// Our address on that connection.
    pub local_address: String,
    /// The socket's descriptor.
    pub fd: i32,
    /// When it connected, Unix ms.
    pub connected_ms: i64,
    /// When it last sent a command, or took or sent a part of something, Unix ms.
    pub active_ms: AtomicI64,
    /// Selected logical database.
    pub db: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// The last command: its number in the table plus one; 0 is none.
    pub last_command: AtomicU32,
    /// What its EXEC or script counts for in CLUSTER SLOT-STATS.
    pub whole: crate::cluster::slot_stats::Whole,
    /// Whether it came over the Unix socket.
    pub unix: bool,
    /// READONLY.
    pub read_only: AtomicBool,
    /// Names and user.
    pub info: Mutex<ClientInfo>,
    /// What others sent it: pushes, replies of blocked commands.
    outbox: Mutex<Vec<u8>>,
    /// Whether anything may be in the outbox.
    outbox_filled: AtomicBool,
    /// Bytes that its connection has taken over and not written yet.
    pub unsent_bytes: AtomicU64,
    /// Since when its output is above the soft limit, Unix ms; 0: it is not.
    over_soft_since_ms: AtomicI64,
    /// Rung when the outbox or a flag below changed.
    pub bell: Bell,
    /// The connection is to be closed, without what is still to be sent.
    pub killed: AtomicBool,
    /// Who waits until it has left: they are told by the end of these. None once
    /// it has.
    missed_by: Mutex<Option<Vec<Arc<Sender<()>>>>>,
    /// Set when a watched key changed.
    pub watch_broken: AtomicBool,
    /// The blocking command under way.
    pub waiter: Mutex<Option<Arc<Waiter>>>,
    /// Numbers for CLIENT LIST: channels, patterns, shard channels.
    pub subscriptions: [AtomicU32; 3],
    /// Shard channels that it no longer listens to, since their slots have left.
    pub revoked: Mutex<Vec<Box<[u8]>>>,
    /// Whether there are any.
    pub any_revoked: AtomicBool,
    /// Commands queued in MULTI, or -1.
    pub queued: AtomicI64,
    /// What CLIENT LIST shows of them, see `pipeline/single.rs`.
    pub listed: AtomicI64,
    /// How many keys are watched.
    pub watched: AtomicU32,
    /// Commands run.
    pub commands: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
    /// Bytes waiting in the query buffer.
    pub query_bytes: AtomicU64,
    /// Room behind them.
    pub query_free_bytes: AtomicU64,
    /// Whether it is a MONITOR.
    pub monitor: AtomicBool,
    /// It is a replica that follows us.
    pub replica: AtomicBool,
    /// It is our primary.
    pub primary: AtomicBool,
    /// A command of it waits for the end of CLIENT PAUSE.
    pub postponed: AtomicBool,
    /// Its connection should give back its buffers' room.
    pub idle_buffers: AtomicBool,
    /// It is to be closed once its replies are out.
    pub closing: AtomicBool,
    /// CLIENT CAPA REDIRECT.
    pub capa_redirect: AtomicBool,
    /// CLIENT IMPORT-SOURCE.
    pub import_source: AtomicBool,
    /// CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH.
    pub no_touch: AtomicBool,
    /// CLIENT TRACKING.
    pub tracking: ClientTracking,
    /// What it holds besides its buffers.
    pub held: Held,
}

impl Client {
    /// How many keys it watches; none once one of them has changed.
    pub fn watched_keys(&self) -> u32 {
        match self.watch_broken.load(Ordering::Relaxed) {
            true => 0,
            false => self.watched.load(Ordering::Relaxed),
        }
    }

    /// Whether it is connected over IPv6.
    pub fn is_v6(&self) -> bool {
        self.local_address.matches(':').count() > 1
    }

    /// The connection's socket for a thread of its own, which may block on it.
    /// The connection still has its own, which can be dropped.
    pub fn duplicate_socket(&self) -> std::io::Result<socket2::Socket> {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: the connection still has the descriptor open; the duplicate
        // is a new one and owned here alone.
        let socket = unsafe {
            let fd = libc::dup(self.fd);
            if fd < 0 {
                return Err(std::io::Error::last_os_error());
            }
            socket2::Socket::from(OwnedFd::from_raw_fd(fd))
        };
        socket.set_nonblocking(false)?;
        Ok(socket)
    }

    /// A new client; give it a fresh id through [`Clients::add`].
    pub fn new(address: String, local_address: String, fd: i32, now_ms: i64) -> Client {
        Client {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            address,
            local_address,
            fd,
            connected_ms: now_ms,
            active_ms: AtomicI64::new(now_ms),
            db: AtomicU32::new(0),
            protocol: AtomicU8::new(2),
            last_command: AtomicU32::new(0),
            whole: Default::default(),
            unix: false,
            read_only: AtomicBool::new(false),
            info: Mutex::new(ClientInfo {
                user: "default".into(),
                ..ClientInfo::default()
            }),
            outbox: Mutex::new(Vec::new()),
            outbox_filled: AtomicBool::new(false),
            unsent_bytes: AtomicU64::new(0),
            over_soft_since_ms: AtomicI64::new(0),
            bell: Bell::default(),
            killed: AtomicBool::new(false),
            missed_by: Mutex::new(Some(Vec::new())),
            watch_broken: AtomicBool::new(false),
            waiter: Mutex::new(None),
            subscriptions: Default::default(),
            revoked: Mutex::new(Vec::new()),
            any_revoked: AtomicBool::new(false),
            queued: AtomicI64::new(-1),
            listed: AtomicI64::new(-1),
            watched: AtomicU32::new(0),
            commands: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            query_bytes: AtomicU64::new(0),
            query_free_bytes: AtomicU64::new(0),
            postponed: AtomicBool::new(false),
            idle_buffers: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            capa_redirect: AtomicBool::new(false),
            import_source: AtomicBool::new(false),
            monitor: AtomicBool::new(false),
            replica: AtomicBool::new(false),
            primary: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            tracking: ClientTracking::default(),
            held: Held::default(),
        }
    }

    /// The protocol it speaks now.
    pub fn protocol(&self) -> Protocol {
        if self.protocol.load(Ordering::Relaxed) == 3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        }
    }

    /// Puts something into the outbox and rings. A client whose output grows
    /// beyond `limit` is killed.
    pub fn send(&self, limit: &OutputLimit, write: impl FnOnce(&mut ReplyBuffer)) {
        let mut reply = ReplyBuffer::new(self.protocol());
        write(&mut reply);
        self.send_bytes(limit, &reply.buf);
    }

    /// As [`Client::send`], with the bytes at hand.
    pub fn send_bytes(&self, limit: &OutputLimit, bytes: &[u8]) {
        let mut outbox = self.outbox.lock();
        outbox.extend_from_slice(bytes);
        let held = outbox.len() as u64 + self.unsent_bytes.load(Ordering::Relaxed);
        if self.is_over(limit, held) {
            self.kill_for_output(limit, held);
            *outbox = Vec::new();
        }
        self.outbox_filled
            .store(!outbox.is_empty(), Ordering::Release);
        drop(outbox);
        self.bell.ring();
    }

    /// Whether this much unsent output is too much, now or for too long.
    fn is_over(&self, limit: &OutputLimit, held_bytes: u64) -> bool {
        let over = |limit: u64| limit != 0 && held_bytes > limit.max(FIXED_BYTES);
        if over(limit.hard_bytes.load(Ordering::Relaxed)) {
            return true;
        }
        let since_ms = self.over_soft_since_ms.load(Ordering::Relaxed);
        if !over(limit.soft_bytes.load(Ordering::Relaxed)) {
            if since_ms != 0 {
                self.over_soft_since_ms.store(0, Ordering::Relaxed);
            }
            return false;
        }
        let now_ms = unix_ms();
        if since_ms == 0 {
            self.over_soft_since_ms.store(now_ms, Ordering::Relaxed);
            return false;
        }
        (now_ms - since_ms) / 1000 > limit.soft_seconds.load(Ordering::Relaxed)
    }

    /// Kills it if its output is beyond the limit by now.
    pub fn enforce(&self, limit: &OutputLimit) {
        let held = self.output_bytes();
        if self.is_over(limit, held) {
            self.kill_for_output(limit, held);
            self.bell.ring();
        }
    }

    /// Kills it for this much output.
    pub fn kill_for_output(&self, limit: &OutputLimit, held_bytes: u64) {
        if !self.killed.swap(true, Ordering::AcqRel) {
            limit.closes.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                client = self.id,
                address = self.address,
                held_bytes,
                "closing a client beyond its client-output-buffer-limit"
            );
        }
    }

    /// Moves what is in the outbox behind `out`.
    #[inline]
    pub fn take_outbox(&self, out: &mut Vec<u8>) {
        if self.outbox_filled.load(Ordering::Acquire) {
            self.take_filled_outbox(out);
        }
    }

    fn take_filled_outbox(&self, out: &mut Vec<u8>) {
        let mut outbox = self.outbox.lock();
        self.outbox_filled.store(false, Ordering::Relaxed);
        out.extend_from_slice(&outbox);
        outbox.clear();
        if outbox.capacity() > 1 << 20 {
            *outbox = Vec::new();
        }
    }

    /// Bytes of output that have not been written to the socket.
    pub fn output_bytes(&self) -> u64 {
        self.outbox_bytes() as u64 + self.unsent_bytes.load(Ordering::Relaxed)
    }

    /// Its output, without what is but a few small replies on their way.
    fn large_output_bytes(&self) -> u64 {
        const SMALL_BYTES: u64 = 4096;
        self.output_bytes().saturating_sub(SMALL_BYTES)
    }

    /// What it takes, for CLIENT LIST and `maxmemory-clients`.
    pub fn memory_bytes(&self) -> u64 {
        let buffers = [&self.query_bytes, &self.query_free_bytes];
        let buffers: u64 = buffers
            .iter()
            .map(|bytes| bytes.load(Ordering::Relaxed))
            .sum();
        size_of::<Client>() as u64 + buffers + self.large_output_bytes() + self.held.bytes()
    }

    /// Whether it is our primary or a replica of ours.
    pub fn is_peer(&self) -> bool {
        self.replica.load(Ordering::Relaxed) || self.primary.load(Ordering::Relaxed)
    }

    /// Whether it listens to any channel, pattern or shard channel.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions
            .iter()
            .any(|count| count.load(Ordering::Relaxed) != 0)
    }

    /// Counts a command that has ended. Only its own worker does that.
    #[inline]
    pub fn count_command(&self) {
        self.count_commands(1);
    }

    /// Whether something was pushed that has not been sent.
    #[inline]
    pub fn has_outbox(&self) -> bool {
        self.outbox_filled.load(Ordering::Acquire)
    }

    /// Counts commands that ran.
    pub fn count_commands(&self, ran: u64) {
        add_alone(&self.commands, ran);
    }

    /// Whether it waits: for a key, or for the end of CLIENT PAUSE.
    pub fn is_blocked(&self) -> bool {
        self.postponed.load(Ordering::Relaxed) || self.waiter.lock().is_some()
    }

    /// Whether its connection is about to be closed.
    pub fn is_leaving(&self) -> bool {
        self.killed.load(Ordering::Acquire) || self.closing.load(Ordering::Acquire)
    }

    /// Bytes in the outbox.
    pub fn outbox_bytes(&self) -> usize {
        match self.outbox_filled.load(Ordering::Acquire) {
            true => self.outbox.lock().len(),
            false => 0,
        }
    }

    /// Asks the connection to close.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Has somebody be told, by the end of `told`, when its connection has left
    /// everything that it was part of.
    pub fn tell_when_left(&self, told: &Arc<Sender<()>>) {
        if let Some(missed_by) = &mut *self.missed_by.lock() {
            missed_by.push(told.clone());
        }
    }

    /// Tells those who wait for its leaving.
    pub fn has_left(&self) {
        *self.missed_by.lock() = None;
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// All connected clients, by id.
#[derive(Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// Adds a client.
    pub fn add(&self, client: Client) -> Arc<Client> {
        let client = Arc::new(client);
        self.by_id.lock().insert(client.id, client.clone());
        client
    }

    /// Forgets a client.
    pub fn remove(&self, id: u64) {
        self.by_id.lock().remove(&id);
    }

    /// The client with this id.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// All clients, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
