//! Feeding a replica: a snapshot if it needs one, then the log from where it
//! stands. One thread writes, another reads its acknowledgements. A replica
//! costs a cursor in the log's files and a buffer of fixed size, however far
//! behind it is.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redoubt_cluster::replication::history::{Answer, Position, decide};
use redoubt_cluster::replication::peer::{Peer, Stage};
use redoubt_persistence::log::{Offset, WINDOW_BYTES};
use redoubt_persistence::rdb;
use redoubt_persistence::tree::{Meta, Snapshot};
use socket2::Socket;

use super::image::{Count, Image};
use super::stream::CHUNK_BYTES;
use super::{Counted, gathering, hearing};
use crate::connection::client::Client;
use crate::connection::session::Session;
use crate::replication::replicas::{Replica, StreamRequest};
use crate::runtime::save::{Origin, write_options};
use crate::state::{Server, Storage, random_id};
use crate::stats::add;
use crate::storage::LogHold;

/// How often a thread that waits looks whether it is to end.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// Time between newlines to a replica that waits for its snapshot.
const NEWLINES: Duration = Duration::from_millis(500);
/// The version from which on Valkey's listpacks are as ours.
const VALKEY_9: u32 = 0x09_00_00;

/// Takes over a connection whose client has asked for the stream; `rest` is
/// what it sent besides. The descriptor is duplicated, so that the caller can
/// drop its own. False if the client has not asked, or can't be served.
pub fn take_over(server: &'static Server, session: &mut Session, rest: Vec<u8>) -> bool {
    if session.slot_import.is_some() {
        session.client.closing.store(false, Ordering::Relaxed);
        return crate::runtime::migration::import::take_over(server, session, rest);
    }
    let Some(request) = session.stream_request.take() else {
        return false;
    };
    let client = session.client.clone();
    if client.killed.load(Ordering::Acquire) {
        return false;
    }
    client.closing.store(false, Ordering::Relaxed);
    let peer = session.peer.take().unwrap_or_default();
    let given = start(server, client, *peer, request, rest);
    if let Err(error) = &given {
        tracing::warn!("a replica can't be served: {error}");
    }
    given.is_ok()
}

fn start(
    server: &'static Server,
    client: Arc<Client>,
    peer: Peer,
    request: StreamRequest,
    rest: Vec<u8>,
) -> io::Result<()> {
    let socket = client.duplicate_socket()?;
    socket.set_read_timeout(Some(LOOK))?;
    socket.set_write_timeout(Some(LOOK))?;
    client.replica.store(true, Ordering::Relaxed);
    let now_ms = server.replication.now_ms();
    let replica = Arc::new(Replica {
        client: client.clone(),
        peer: Mutex::new(Peer {
            stage: Stage::WaitsForSnapshot,
            acknowledges: request.psync,
            heard_ms: now_ms,
            sent_ms: now_ms,
            ..peer
        }),
        owed: AtomicU64::new(0),
        kept_from: AtomicU64::new(u64::MAX),
    });
    let reader = socket.try_clone()?;
    server.replication.replicas.add(replica.clone());
    let started = serve(server, replica, (socket, reader), request, rest);
    if started.is_err() {
        // Whoever hears it already ends with that.
        client.kill();
        server.replication.replicas.remove(client.id);
        client.replica.store(false, Ordering::Relaxed);
    }
    started
}

/// Starts the threads that hear and feed a replica.
fn serve(
    server: &'static Server,
    replica: Arc<Replica>,
    (socket, reader): (Socket, Socket),
    request: StreamRequest,
    rest: Vec<u8>,
) -> io::Result<()> {
    let (hears, feeds) = (replica.clone(), replica);
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(body)
    };
    spawn(
        "replica-acks",
        Box::new(move || hearing::hear(server, &hears, &reader, rest)),
    )?;
    let mut feeder = Feeder {
        server,
        replica: feeds,
        socket,
        buffers: Buffers::new(),
        deadline: None,
    };
    spawn(
        "replica-feed",
        Box::new(move || {
            let ended = feeder.feed(request);
            feeder.end(ended);
        }),
    )?;
    Ok(())
}

pub(super) struct Feeder {
    pub(super) server: &'static Server,
    pub(super) replica: Arc<Replica>,
    socket: Socket,
    pub(super) buffers: Buffers,
    /// Once it is to end: until when what is owed may be sent.
    pub(super) deadline: Option<Instant>,
}

/// What a feeder gathers in. The thread that accepted the replica allocates it: the allocator gives
/// each thread pages of its own for blocks of a size, and a feeding thread with one such buffer in
/// them would take 2 MB.
pub(super) struct Buffers {
    /// For the RDB file.
    file: Vec<u8>,
    /// For what is read of the log.
    window: Vec<u8>,
    /// For what is sent of the log.
    pub(super) chunk: Vec<u8>,
}

impl Buffers {
    fn new() -> Buffers {
        Buffers {
            file: Vec::with_capacity(rdb::file::BUFFER_BYTES),
            window: Vec::with_capacity(WINDOW_BYTES as usize),
            chunk: Vec::with_capacity(CHUNK_BYTES),
        }
    }
}

/// Why feeding ended.
pub(super) enum End {
    /// The connection is gone, or was to be ended.
    Gone,
    /// Something failed.
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for End {
    fn from(error: E) -> End {
        End::Failed(error.to_string())
    }
}

impl Feeder {
    fn feed(&mut self, request: StreamRequest) -> Result<(), End> {
        let storage = super::storage(self.server)?;
        let hold = storage.hold_log(0);
        let from = match self.resume(storage, &request)? {
            Some(from) => from,
            None => self.send_everything(storage, &request, &hold)?,
        };
        self.keep_from(&hold, from.0);
        if self.replica.peer.lock().rdb_only {
            while !self.is_over() {
                std::thread::sleep(LOOK);
            }
            return Ok(());
        }
        {
            let mut peer = self.replica.peer.lock();
            peer.stage = Stage::Online;
            peer.heard_ms = self.server.replication.now_ms();
        }
        tracing::info!("Replica {} is online", self.replica.client.address);
        let window = std::mem::take(&mut self.buffers.window);
        let reader = storage.log.reader(from)?.reading_into(window);
        self.send_stream(storage, reader, &hold)
    }

    /// Goes on from where the replica stands, if it can.
    fn resume(
        &mut self,
        storage: &Storage,
        request: &StreamRequest,
    ) -> Result<Option<Offset>, End> {
        let replication = &self.server.replication;
        let identity = replication.identity();
        let retained = identity.retained(storage.log.oldest_readable().0, storage.log.end().0);
        let address = &self.replica.client.address;
        match decide(&identity.history, retained, request.position) {
            Answer::Continue => {}
            Answer::Full(refusal) => {
                if request.position.is_some() {
                    add(&replication.partial_refusals, 1);
                }
                tracing::info!("Full resync for replica {address}: {refusal:?}");
                return Ok(None);
            }
        }
        let offset = request.position.map_or(0, |position| position.offset);
        tracing::info!("Partial resync for replica {address} from offset {offset}");
        let line = match self.replica.peer.lock().capabilities.psync2 {
            true => format!("+CONTINUE {}\r\n", identity.history.id),
            false => "+CONTINUE\r\n".to_owned(),
        };
        add(&replication.partial_syncs, 1);
        self.replica.peer.lock().applied = offset;
        self.write(line.as_bytes())?;
        Ok(Some(Offset(identity.log_offset(offset))))
    }

    /// Sends a snapshot of the tree as an RDB file. Gives the log offset at
    /// which the stream goes on.
    fn send_everything(
        &mut self,
        storage: &Storage,
        request: &StreamRequest,
        hold: &LogHold,
    ) -> Result<Offset, End> {
        let replication = &self.server.replication;
        add(&replication.full_syncs, 1);
        self.gather()?;
        let _counted = Counted::new(&replication.snapshots);
        let generation = replication.generation();
        let (snapshot, meta) = self.snapshot(storage)?;
        self.keep_from(hold, meta.offset);
        let identity = replication.identity();
        // The snapshot may be of another history than the one that came meanwhile.
        let is_ours = meta.replication_id == identity.history.id.to_string();
        if replication.generation() != generation || !is_ours || self.is_over() {
            return Err(End::Gone);
        }
        let origin = Origin::at(&identity, &meta);
        let Position { id, offset } = origin.position;
        if request.psync {
            let line = format!("+FULLRESYNC {id} {offset}\r\n");
            self.write(line.as_bytes())?;
        }
        self.replica.peer.lock().stage = Stage::TakesSnapshot;
        let (eof, version, parts) = {
            let peer = self.replica.peer.lock();
            (peer.capabilities.eof, peer.version, peer.parts)
        };
        let buffer = std::mem::take(&mut self.buffers.file);
        let image = Image {
            server: self.server,
            snapshot: &snapshot,
            meta: &meta,
            origin,
            options: write_options(self.server),
            parts,
            for_valkey_9: self.server.keyspace.has_field_expiries(),
            for_redis: version < VALKEY_9,
            open_slots: self
                .server
                .cluster
                .as_ref()
                .map_or(String::new(), |cluster| {
                    cluster.read(redoubt_cluster::bus::Bus::open_slots)
                }),
        };
        if eof {
            let mark = random_id();
            self.write(format!("$EOF:{mark}\r\n").as_bytes())?;
            self.replica.peer.lock().heard_ms = 0;
            image.write(&mut *self, buffer)?;
            self.write(mark.as_bytes())?;
            self.wait_for_ack()?;
        } else {
            // Its length has to be told first: the same file is made twice.
            let mut counted = Count::default();
            image.write(&mut counted, Vec::new())?;
            self.write(format!("${}\r\n", counted.bytes).as_bytes())?;
            image.write(&mut *self, buffer)?;
        }
        self.replica.peer.lock().applied = offset;
        Ok(Offset(meta.offset))
    }

    /// Keeps the log from an offset on.
    pub(super) fn keep_from(&self, hold: &LogHold, offset: u64) {
        hold.move_to(offset);
        self.replica.kept_from.store(offset, Ordering::Release);
    }

    /// Waits for further replicas, where that is asked for.
    fn gather(&mut self) -> Result<(), End> {
        let began_ms = self.server.replication.now_ms();
        let mut newline_ms = began_ms;
        loop {
            if self.is_over() {
                return Err(End::Gone);
            }
            let now_ms = self.server.replication.now_ms();
            if gathering::is_over(self.server, &self.replica, began_ms, now_ms) {
                return Ok(());
            }
            if now_ms >= newline_ms + NEWLINES.as_millis() as u64 {
                newline_ms = now_ms;
                self.keep_patient()?;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn keep_patient(&mut self) -> Result<(), End> {
        match self.server.replication.is_silent() {
            true => Ok(()),
            false => self.write(b"\n"),
        }
    }

    /// A fresh snapshot; newlines keep the replica patient meanwhile.
    fn snapshot(&mut self, storage: &Storage) -> Result<(Snapshot, Meta), End> {
        let number = storage.checkpoints.request();
        while !storage.checkpoints.wait_made(number, NEWLINES) {
            if self.is_over() {
                return Err(End::Gone);
            }
            self.keep_patient()?;
        }
        let snapshot = storage.tree.snapshot()?;
        let meta = snapshot.meta()?;
        Ok((snapshot, meta))
    }

    /// A replica that reads up to a mark takes nothing more until it says so.
    fn wait_for_ack(&mut self) -> Result<(), End> {
        while self.replica.peer.lock().heard_ms == 0 {
            if self.is_over() {
                return Err(End::Gone);
            }
            if self.replica.peer.lock().rdb_only {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.replica.client.killed.load(Ordering::Acquire)
    }

    /// Writes what the replica takes, and gives the number of bytes: 0 if it
    /// takes nothing for a while.
    pub(super) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.socket).write(bytes) {
            Err(error) if is_timeout(&error) => Ok(0),
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                let replication = &self.server.replication;
                self.replica.peer.lock().sent_ms = replication.now_ms();
                add(&replication.sent_bytes, count as u64);
                add(&self.replica.client.bytes_out, count as u64);
                Ok(count)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes all, however long the replica takes, unless it is to end.
    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.write_all(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionAborted => End::Gone,
            _ => End::Failed(error.to_string()),
        })
    }

    fn end(&mut self, ended: Result<(), End>) {
        let client = &self.replica.client;
        match ended {
            Err(End::Failed(error)) if !self.is_over() => {
                tracing::warn!("Connection with replica {} lost: {error}", client.address);
            }
            _ => tracing::info!("Connection with replica {} lost", client.address),
        }
        client.kill();
        let _ = self.socket.shutdown(Shutdown::Both);
        self.server.replication.replicas.remove(client.id);
        // Who is gone counts no more.
        self.server.count_good_replicas();
        self.server.clients.remove(client.id);
    }
}

impl Write for Feeder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if self.is_over() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let count = self.write_some(bytes)?;
            if count != 0 {
                return Ok(count);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
