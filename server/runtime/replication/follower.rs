//! Following our primary: one thread with a blocking socket drives the link's
//! state machine. It ends a link as soon as the role changes.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redoubt_cluster::replication::ReplicationId;
use redoubt_cluster::replication::history::{History, Names, Position};
use redoubt_cluster::replication::link::{Failure, Identity, Input, Link, Output, Phase};

use super::apply::Applier;
use super::transfer::Source;
use super::{install, progress, rewind};
use crate::config::{Config, DirectiveId, id};
use crate::connection::client::Client;
use crate::eviction::hold_up;
use crate::replication::{Target, new_id};
use crate::runtime::outgoing;
use crate::state::{Server, Storage, unix_ms};
use crate::stats::add;

/// Pause between two attempts.
const RETRY_MS: u64 = 1000;
/// Time between acknowledgements.
const ACK_MS: u64 = 1000;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// How long a read waits before the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The thread's body: follows whoever is to be followed.
pub fn run(server: &'static Server) {
    let replication = &server.replication;
    loop {
        let seen = replication.target_bell.rings();
        let generation = replication.generation();
        let Some(target) = replication.target() else {
            replication
                .target_bell
                .wait(seen, Duration::from_secs(3600));
            continue;
        };
        match super::storage(server) {
            Ok(storage) => {
                let mut follower = Follower::new(server, storage, target, generation);
                follower.follow();
                follower.disconnect();
                replication.link.set_phase(generation, Phase::Waiting);
            }
            Err(error) => {
                tracing::error!("Can't follow a primary: {error}");
                replication.target_bell.wait(seen, Duration::from_secs(5));
            }
        }
    }
}

/// The link of one generation.
pub(super) struct Follower {
    pub(super) server: &'static Server,
    storage: &'static Storage,
    target: Target,
    generation: u64,
    pub(super) link: Link,
    /// The name of the history under which the stream was last asked for.
    asked: Option<ReplicationId>,
    socket: Option<TcpStream>,
    pub(super) client: Option<Arc<Client>>,
    applier: Option<Applier>,
    /// When bytes were last read.
    read_at: Instant,
    pub(super) buffer: Vec<u8>,
}

impl Follower {
    fn new(
        server: &'static Server,
        storage: &'static Storage,
        target: Target,
        generation: u64,
    ) -> Follower {
        let replication = &server.replication;
        let end = replication.stream_offset(storage.log.end().0);
        let position = replication.identity().history.position(end);
        Follower {
            link: Link::new(identity(server), Some(position)),
            server,
            storage,
            target,
            generation,
            asked: None,
            socket: None,
            client: None,
            applier: None,
            read_at: Instant::now(),
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    pub(super) fn is_current(&self) -> bool {
        self.server.replication.generation() == self.generation
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.server.replication.now_ms()
    }

    fn follow(&mut self) {
        while self.is_current() {
            self.note_progress();
            self.link
                .set_timeout(timeout_ms(&self.server.config.read()));
            self.link.handle(self.now_ms(), Input::Tick);
            self.obey();
            self.set_phase(self.link.phase());
            if self
                .client
                .as_ref()
                .is_some_and(|client| client.killed.load(Ordering::Acquire))
            {
                self.link.give_up(self.now_ms());
                self.obey();
            }
            if self.applier.is_some() && hold_up(self.server, self.read_at) {
                continue;
            }
            match self.receive() {
                Received::Nothing => {}
                Received::Bytes(count) => {
                    let bytes = std::mem::take(&mut self.buffer);
                    self.link
                        .handle(self.now_ms(), Input::Bytes(&bytes[..count]));
                    self.buffer = bytes;
                }
                Received::End => self.link.handle(self.now_ms(), Input::Disconnected),
            }
            self.obey();
        }
    }

    fn set_phase(&self, phase: Phase) {
        let status = &self.server.replication.link;
        status.set_phase(self.generation, phase);
    }

    fn note_progress(&mut self) {
        let (applied, synced) = progress(self.server, self.storage);
        let counts = self.server.counts_as_on_disk();
        self.link.progress(applied, counts.then_some(synced));
    }

    /// Waits for bytes, for a moment.
    pub(super) fn receive(&mut self) -> Received {
        let status = &self.server.replication.link;
        let Some(socket) = &mut self.socket else {
            let seen = self.server.replication.target_bell.rings();
            if self.is_current() {
                self.server.replication.target_bell.wait(seen, LOOK);
            }
            return Received::Nothing;
        };
        match socket.read(&mut self.buffer) {
            Ok(0) => Received::End,
            Ok(count) => {
                let now_ms = self.server.replication.now_ms();
                status.heard(now_ms);
                self.read_at = Instant::now();
                add(&status.received_bytes, count as u64);
                if let Some(client) = &self.client {
                    add(&client.bytes_in, count as u64);
                    client.active_ms.store(unix_ms(), Ordering::Relaxed);
                }
                Received::Bytes(count)
            }
            Err(error) if is_timeout(&error) => Received::Nothing,
            Err(_) => Received::End,
        }
    }

    /// Does what the link wants.
    fn obey(&mut self) {
        while let Some(output) = self.link.poll_output() {
            if !self.is_current() {
                return;
            }
            match output {
                Output::Connect => self.connect(),
                Output::Send(bytes) => self.send(&bytes),
                Output::Told(names) => self.told(&names),
                Output::Continued(new) => self.continued(new),
                Output::SnapshotBegins(position) => self.full_sync(position),
                // Only `full_sync` takes these, and it takes all.
                Output::Snapshot(_) | Output::SnapshotEnds => {}
                Output::Stream(bytes) => self.apply(&bytes),
                Output::Disconnect(failure) => {
                    self.explain(&failure);
                    self.disconnect();
                    self.link.set_identity(identity(self.server));
                    if let Failure::Refused(_) = failure {
                        super::failover::refused(self.server);
                    }
                }
            }
        }
    }

    /// Logs why the link ends.
    fn explain(&self, failure: &Failure) {
        let Target { host, port } = &self.target;
        match (failure, self.server.replication.link.phase()) {
            (Failure::GivenUp, _) => {}
            (Failure::TimedOut, Phase::Connecting | Phase::HandShake) => {
                tracing::warn!("Timeout connecting to the PRIMARY {host}:{port}");
            }
            _ => tracing::warn!("Link with primary {host}:{port} ended: {failure}"),
        }
    }

    fn connect(&mut self) {
        let Target { host, port } = &self.target;
        if self.storage.log.failure().is_some() {
            // What would come could not be logged.
            tracing::warn!("The PRIMARY {host}:{port} has to wait until the log is mended");
            return self.link.handle(self.now_ms(), Input::Disconnected);
        }
        tracing::info!("Connecting to PRIMARY {host}:{port}");
        let input = match open(self.server, host, *port) {
            Ok(socket) => {
                let client = client_of(&socket);
                let client = client.map(|client| self.server.clients.add(client));
                let status = &self.server.replication.link;
                status.set_socket(socket.try_clone().ok());
                *status.client.lock() = client.clone();
                self.client = client;
                self.socket = Some(socket);
                Input::Connected
            }
            Err(error) => {
                tracing::warn!("Error condition on socket for SYNC: {error}");
                Input::Disconnected
            }
        };
        self.link.handle(self.now_ms(), input);
    }

    fn disconnect(&mut self) {
        let status = &self.server.replication.link;
        if status.is_up() {
            let now_ms = self.server.replication.now_ms();
            status.down_since_ms.store(now_ms, Ordering::Relaxed);
            self.set_phase(Phase::Waiting);
        }
        status.set_socket(None);
        *status.client.lock() = None;
        if let Some(client) = self.client.take() {
            self.server.clients.remove(client.id);
        }
        self.socket = None;
        self.applier = None;
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.socket {
            Some(socket) => socket.write_all(bytes),
            None => return,
        };
        if sent.is_err() {
            self.link.handle(self.now_ms(), Input::Disconnected);
        }
    }

    /// The primary has told the names of its history: where ours goes on
    /// beyond what both have, it goes back.
    fn told(&mut self, names: &Names) {
        let replication = &self.server.replication;
        let end = replication.stream_offset(self.storage.log.end().0);
        let identity = replication.identity();
        let common = identity.history.common(end, names);
        if let Some(offset) = common.filter(|common| *common < end) {
            match rewind::rewind(self.server, self.storage, offset, self.generation) {
                Ok(()) => tracing::info!(
                    "{} bytes of the stream that the primary does not have are void: the data is as of offset {offset}",
                    end - offset
                ),
                Err(error) => tracing::info!("Can't go back to offset {offset}: {error}"),
            }
        }
        let end = replication.stream_offset(self.storage.log.end().0);
        let position = replication.identity().history.position_in(end, names);
        self.asked = Some(position.id);
        self.link.go_on(self.now_ms(), Some(position));
    }

    /// The primary goes on from our offset.
    fn continued(&mut self, new: Option<ReplicationId>) {
        let replication = &self.server.replication;
        tracing::info!("Successful partial resynchronization with primary");
        let known = replication.identity();
        if let Some(id) = new.filter(|id| *id != known.history.id) {
            let end = replication.stream_offset(self.storage.log.end().0);
            let mut is_ours = false;
            let renamed = replication.change_identity(|identity| {
                is_ours = self.asked.is_some_and(|id| identity.history.knows(id));
                if is_ours {
                    identity.history.rename(id, end);
                }
            });
            if let Err(error) = renamed {
                tracing::error!("can't write the replication state: {error}");
                return self.link.give_up(self.now_ms());
            }
            if !is_ours {
                // The log has failed meanwhile: this answers for what we had.
                return self.link.give_up(self.now_ms());
            }
            replication.replicas.disconnect();
        }
        self.begin_stream();
    }

    fn begin_stream(&mut self) {
        let Some(client) = self.client.clone() else {
            return;
        };
        let db = install::selected_db(self.storage);
        self.applier = Some(Applier::new(self.server, client, self.generation, db));
        self.set_phase(Phase::Streaming);
        self.server.replication.link.heard(self.now_ms());
        crate::cluster::replicate::keep_phase(self.server);
    }

    fn apply(&mut self, bytes: &[u8]) {
        if self.storage.log.failure().is_some() {
            // What is not logged must not be applied.
            return self.link.give_up(self.now_ms());
        }
        let Some(applier) = &mut self.applier else {
            return;
        };
        let turn = self.server.saves.reload_turn.lock();
        let applied = applier.feed(bytes);
        drop(turn);
        let asked = std::mem::take(&mut applier.asked_for_ack);
        self.note_progress();
        match applied {
            Ok(()) if asked => self.link.acknowledge(self.now_ms()),
            Ok(()) => {}
            Err(error) if self.is_current() => {
                tracing::error!(
                    "== CRITICAL == The primary's stream can't be applied: {error}. Everything is asked for anew"
                );
                self.start_over();
            }
            Err(_) => {}
        }
    }

    /// After a command that can't be applied nothing of the stream may follow,
    /// now or after a restart: the history here is another one from now on.
    fn start_over(&mut self) {
        let replication = &self.server.replication;
        let own = replication.change_identity(|identity| {
            identity.history = History::new(new_id());
            identity.astray = true;
        });
        if let Err(error) = own {
            tracing::error!("can't write the replication state: {error}");
        }
        replication.replicas.disconnect();
        self.disconnect();
        self.link = Link::new(
            Identity {
                retry_ms: 5 * RETRY_MS,
                ..identity(self.server)
            },
            None,
        );
        std::thread::sleep(Duration::from_millis(RETRY_MS));
    }

    fn full_sync(&mut self, position: Position) {
        let replication = &self.server.replication;
        tracing::info!(
            "Full resync from primary: {}:{}",
            position.id,
            position.offset
        );
        if self.storage.log.failure().is_some() {
            // Nothing can take its place until the log is mended.
            return self.link.give_up(self.now_ms());
        }
        self.set_phase(Phase::Syncing);
        crate::cluster::replicate::keep_phase(self.server);
        replication.link.loaded_bytes.store(0, Ordering::Relaxed);
        let began = std::time::Instant::now();
        let (server, storage, generation) = (self.server, self.storage, self.generation);
        let mut source = Source::new(self);
        let loaded = install::load(server, &mut source).and_then(|incoming| match source.drain() {
            Ok(()) => Ok(incoming),
            Err(error) => Err(error.to_string()),
        });
        let installed = loaded.and_then(|incoming| {
            let (keys, open_slots) = (incoming.keys, incoming.open_slots.clone());
            install::swap(server, storage, incoming, position, generation)?;
            crate::cluster::slot_order::inherit(server, &open_slots);
            Ok(keys)
        });
        match installed {
            Ok(keys) => {
                tracing::info!(
                    "PRIMARY <-> REPLICA sync: Finished with success: {keys} keys in {:.3} seconds",
                    began.elapsed().as_secs_f64()
                );
                self.link.loaded(self.now_ms(), position);
                self.begin_stream();
            }
            Err(error) => {
                if self.is_current() {
                    tracing::warn!("Full sync broken off, the data is as before: {error}");
                }
                self.link.give_up(self.now_ms());
            }
        }
    }
}

/// What a read gave.
pub(super) enum Received {
    Nothing,
    Bytes(usize),
    End,
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn open(server: &Server, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match outgoing::connect(server, &address, Duration::from_secs(5)) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(LOOK))?;
                socket.set_write_timeout(Some(Duration::from_secs(5)))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The primary as CLIENT LIST shows it.
fn client_of(socket: &TcpStream) -> Option<Client> {
    let (peer, local) = (socket.peer_addr().ok()?, socket.local_addr().ok()?);
    let client = Client::new(
        peer.to_string(),
        local.to_string(),
        socket.as_raw_fd(),
        unix_ms(),
    );
    client.primary.store(true, Ordering::Relaxed);
    Some(client)
}

/// How long a primary may be silent.
fn timeout_ms(config: &Config) -> u64 {
    const TIMEOUT: DirectiveId = id("repl-timeout");
    config.integer(TIMEOUT).max(1) as u64 * 1000
}

/// What we tell a primary of ourselves.
fn identity(server: &Server) -> Identity {
    let config = server.config.read();
    let announced = config.integer(id("replica-announce-port"));
    let port = match announced {
        0 => config.integer(id("port")),
        port => port,
    };
    let text = |name| config.render(id(name));
    Identity {
        user: text("primaryuser"),
        password: text("primaryauth"),
        port: port as u16,
        announced_ip: text("replica-announce-ip"),
        version: "9.1.0",
        timeout_ms: timeout_ms(&config),
        retry_ms: RETRY_MS,
        ack_ms: ACK_MS,
        failover: server.replication.failover.is_handing_over(),
    }
}
