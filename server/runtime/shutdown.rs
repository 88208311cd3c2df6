//! The end of a server that is told to end: signals and SHUTDOWN, replicas that
//! are to have everything first, and the last snapshot.

use std::sync::Arc;
use std::time::Duration;

use redoubt_cluster::replication::peer::Stage;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::replication::{self, ACK_REQUEST};
use super::save;
use crate::config::id;
use crate::connection::pause::{self, Purpose};
use crate::replication::replicas::Replica;
use crate::shutdown::{self, Request};
use crate::state::{Server, unix_ms};

/// How often it is looked whether replicas have everything.
const LOOK: Duration = Duration::from_millis(20);
/// How long writes that are under way may hold up the last snapshot.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Hears SIGTERM and SIGINT from its making on.
pub struct Ends {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    /// Begins to listen.
    pub fn listen() -> Result<Ends, String> {
        let failed = |e: std::io::Error| format!("can't wait for signals: {e}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let guard = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        drop(guard);
        Ok(Ends {
            runtime,
            terminate,
            interrupt,
        })
    }

    /// Waits until the server is to end and may: replicas have everything, or
    /// have had their time, and what was to be saved is.
    pub fn wait(mut self, server: &'static Server) {
        loop {
            let (number, request) = self.next_request(server);
            if !self.let_replicas_catch_up(server, number, request) {
                continue;
            }
            report_replicas(server);
            let saved = !request.save || save_all(server).is_ok() || request.force;
            if saved {
                return;
            }
            tracing::error!("The data could not be saved: the server does not end");
            shutdown::give_up(server);
        }
    }

    fn next_request(&mut self, server: &'static Server) -> (u64, Request) {
        loop {
            if let Some(pending) = server.shutdown.pending() {
                tracing::info!("User requested shutdown...");
                return pending;
            }
            if let Some(signal) = self.news(server, None) {
                tracing::info!("Received {signal} scheduling shutdown...");
                server.shutdown.ask(request_of(server, signal));
            }
        }
    }

    /// The name of the signal that came, if it was one and not the bell, or the
    /// time that was over.
    fn news(&mut self, server: &'static Server, time: Option<Duration>) -> Option<&'static str> {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        self.runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => Some("SIGTERM"),
                _ = interrupt.recv() => Some("SIGINT"),
                () = server.shutdown.bell.notified() => None,
                () = tokio::time::sleep(time.unwrap_or_default()), if time.is_some() => None,
            }
        })
    }

    /// Holds back writes until the replicas that are online have all of them,
    /// for as long as `shutdown-timeout`. False if the shutdown was called off.
    fn let_replicas_catch_up(
        &mut self,
        server: &'static Server,
        number: u64,
        request: Request,
    ) -> bool {
        let timeout_s = server.config.read().integer(id("shutdown-timeout"));
        let none_online = || online(server).is_empty();
        if request.now || timeout_s <= 0 || none_online() {
            return server.shutdown.make_final(number);
        }
        let now_ms = unix_ms();
        let until_ms = now_ms.saturating_add(timeout_s * 1000);
        pause::begin(server, Purpose::Shutdown, i64::MAX, true, now_ms);
        server.shutdown.wait_until(until_ms);
        let mut stream = Stream::default();
        let mut told = false;
        while !stream.is_everywhere(server) && unix_ms() < until_ms {
            if !std::mem::replace(&mut told, true) {
                tracing::info!("Waiting for replicas before shutting down.");
            }
            let signal = self.news(server, Some(LOOK));
            match server.shutdown.get(number) {
                None => break,
                Some(request) if request.now || signal.is_some() => break,
                Some(_) => {}
            }
        }
        let goes_on = server.shutdown.make_final(number);
        if !goes_on && server.shutdown.pending().is_none() {
            // It may have been called off before the pause began.
            pause::end(server, Purpose::Shutdown);
            server.shutdown.wait_until(0);
        }
        goes_on
    }
}

/// Ends the server at once, before it has all of its data: there is nothing new to
/// keep, and whatever the start does may end with the process at any time.
pub fn end_in_start(server: &Server) -> ! {
    tracing::info!("User requested shutdown while the data is loaded: nothing is saved");
    replication::clean_up();
    let socket = server.config.read().string(id("unixsocket")).into_owned();
    if !socket.is_empty() {
        let _ = std::fs::remove_file(socket);
    }
    std::process::exit(0)
}

/// Writes the last snapshot. Writes are held back from before it until the end,
/// unless that is called off: what the snapshot misses must not be acknowledged.
fn save_all(server: &'static Server) -> Result<(), String> {
    pause::begin(server, Purpose::Shutdown, i64::MAX, true, unix_ms());
    // A write may have been under way; a long one is waited for by the snapshot.
    drop(server.keyspace.try_lock_all(UNDER_WAY));
    save::last(server)
}

/// What a signal asks for, by the directive about it.
fn request_of(server: &Server, signal: &str) -> Request {
    let directive = match signal {
        "SIGTERM" => id("shutdown-on-sigterm"),
        _ => id("shutdown-on-sigint"),
    };
    let flags = server.config.read().string(directive).into_owned();
    let says = |flag: &str| flags.split(' ').any(|word| word == flag);
    Request {
        clean: true,
        save: says("save") || (!says("nosave") && save::is_due_at_the_end(server)),
        force: says("force"),
        now: says("now"),
    }
}

/// The replicas that are online and tell how far they are.
fn online(server: &Server) -> Vec<Arc<Replica>> {
    let mut all = server.replication.replicas.connected();
    all.retain(|replica| {
        let peer = replica.peer.lock();
        peer.stage == Stage::Online && peer.acknowledges
    });
    all
}

/// How far a replica is behind a stream offset.
fn behind(replica: &Replica, end: u64) -> u64 {
    end.saturating_sub(replica.peer.lock().applied)
}

/// The stream that replicas are to have.
#[derive(Default)]
struct Stream {
    /// The stream offset that they have to tell.
    wanted: u64,
    /// The log's end when they were last asked; 0 before.
    asked_at: u64,
}

impl Stream {
    /// Whether every replica that is online has all there is. If there is more
    /// than before they are asked. What a replica's primary sends meanwhile
    /// is not waited for, since nobody here has acknowledged it.
    fn is_everywhere(&mut self, server: &'static Server) -> bool {
        let Some(log) = server.log() else {
            return true;
        };
        let replication = &server.replication;
        let is_replica = replication.is_replica();
        if self.asked_at == 0 || (!is_replica && log.end().0 != self.asked_at) {
            self.asked_at = log.end().0;
            self.wanted = replication.stream_offset(self.asked_at);
            if !self.has_arrived(server)
                && let Some((before, after)) = replication::ask_for_acks(server)
            {
                self.wanted = replication.stream_offset(before);
                self.asked_at = after;
            }
        }
        if !self.has_arrived(server) {
            return false;
        }
        // A write may have been under way when the pause began.
        let held = server.keyspace.try_lock_all(LOOK);
        is_replica || (held.is_some() && log.end().0 == self.asked_at)
    }

    fn has_arrived(&self, server: &Server) -> bool {
        let has_all = |replica: &Arc<Replica>| behind(replica, self.wanted) == 0;
        online(server).iter().all(has_all)
    }
}

/// Says which replicas are left behind.
fn report_replicas(server: &Server) {
    let all = server.replication.replicas.connected();
    let Some(log) = server.log().filter(|_| !all.is_empty()) else {
        return;
    };
    let end = server.replication.stream_offset(log.end().0);
    let now_ms = server.replication.now_ms();
    let mut lagging = 0;
    for replica in &all {
        let missing = behind(replica, end);
        // The request for an acknowledgement itself may not have been.
        if missing <= ACK_REQUEST.len() as u64 {
            continue;
        }
        lagging += 1;
        let peer = replica.peer.lock();
        tracing::info!(
            "Lagging replica {}:{} reported offset {missing} behind master, lag={}, state={}.",
            replica.client.address,
            peer.listening_port,
            peer.lag_s(now_ms),
            peer.stage.name(),
        );
    }
    tracing::info!(
        "{} of {} replicas are in sync when shutting down.",
        all.len() - lagging,
        all.len()
    );
}
