//! A client as others see it: who it is, what is pushed to it, whether it is
//! to be closed. Shared between its connection's worker and everybody who
//! sends to it or lists it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::blocking::Waiter;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;

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
    pub user: String,
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
    /// When it last sent a command, Unix ms.
    pub active_ms: AtomicI64,
    /// Selected logical database.
    pub db: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// The last command's name.
    pub last_command: Mutex<&'static str>,
    /// Names and user.
    pub info: Mutex<ClientInfo>,
    /// What others sent it: pushes, replies of blocked commands.
    outbox: Mutex<Vec<u8>>,
    /// Rung when the outbox or a flag below changed.
    pub bell: Notify,
    /// The connection is to be closed, without what is still to be sent.
    pub killed: AtomicBool,
    /// Set when a watched key changed.
    pub watch_broken: AtomicBool,
    /// The blocking command under way.
    pub waiter: Mutex<Option<Arc<Waiter>>>,
    /// Numbers for CLIENT LIST: channels, patterns, shard channels.
    pub subscriptions: [AtomicU32; 3],
    /// Commands queued in MULTI, or -1.
    pub queued: AtomicI64,
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
    /// Whether it is a MONITOR.
    pub monitor: AtomicBool,
    /// CLIENT NO-EVICT and NO-TOUCH.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH.
    pub no_touch: AtomicBool,
}

impl Client {
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
            last_command: Mutex::new("NULL"),
            info: Mutex::new(ClientInfo {
                user: "default".into(),
                ..ClientInfo::default()
            }),
            outbox: Mutex::new(Vec::new()),
            bell: Notify::new(),
            killed: AtomicBool::new(false),
            watch_broken: AtomicBool::new(false),
            waiter: Mutex::new(None),
            subscriptions: Default::default(),
            queued: AtomicI64::new(-1),
            watched: AtomicU32::new(0),
            commands: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            query_bytes: AtomicU64::new(0),
            monitor: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
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

    /// Puts something into the outbox and rings. A client whose outbox grows
    /// beyond `limit_bytes` (0: none) is killed.
    pub fn send(&self, limit_bytes: u64, write: impl FnOnce(&mut ReplyBuffer)) {
        let mut reply = ReplyBuffer::new(self.protocol());
        write(&mut reply);
        self.send_bytes(limit_bytes, &reply.buf);
    }

    /// As [`Client::send`], with the bytes at hand.
    pub fn send_bytes(&self, limit_bytes: u64, bytes: &[u8]) {
        let mut outbox = self.outbox.lock();
        outbox.extend_from_slice(bytes);
        if limit_bytes != 0 && outbox.len() as u64 > limit_bytes {
            self.killed.store(true, Ordering::Release);
        }
        drop(outbox);
        self.bell.notify_one();
    }

    /// Moves what is in the outbox behind `out`.
    pub fn take_outbox(&self, out: &mut Vec<u8>) {
        let mut outbox = self.outbox.lock();
        if !outbox.is_empty() {
            out.extend_from_slice(&outbox);
            outbox.clear();
            if outbox.capacity() > 1 << 20 {
                *outbox = Vec::new();
            }
        }
    }

    /// Bytes in the outbox.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.lock().len()
    }

    /// Asks the connection to close.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.bell.notify_one();
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
