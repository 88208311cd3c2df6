//! Replication's threads: one that follows our primary ([`follower`]), two for
//! each replica of ours ([`feeder`]), and one for what is due each second.
//!
//! ```text
//! our primary ─► follower ─► apply ─► keyspace, log     (the stream)
//!                        ├─► install ─► another tree    (a full sync)
//!                        └─► rewind: back to the tree and on to the fork
//! snapshot of the tree, then the log's files ─► feeder ─► a replica
//! ```

mod apply;
pub mod failover;
pub mod feeder;
mod follower;
mod gathering;
mod hearing;
mod image;
mod install;
mod rewind;
pub(super) mod scratch;
mod stream;
mod transfer;

use std::sync::atomic::Ordering;
use std::time::Duration;

use redoubt_cluster::replication::history::{History, Position};
use redoubt_persistence::log::{Offset, Term};

use super::retention;
use super::save::Origin;
use crate::config::{Value, id};
use crate::connection::serve;
use crate::keyspace::stripe::StripeSet;
use crate::replication::{Target, new_id};
use crate::state::{Server, Storage};

/// Takes over what is known of our part in replication, before any command
/// runs. A primary that starts again goes on under a new name: what a crash
/// may have taken from its log can't be confused with what comes instead.
pub fn prepare(
    server: &'static Server,
    dir: &std::path::Path,
    identity: Option<crate::replication::identity::Identity>,
) -> Result<(), String> {
    let replication = &server.replication;
    if let Some(log) = server.log() {
        let _ = replication.directory.set(dir.to_path_buf());
        let end = log.end().0;
        let known = identity.is_some();
        let following = configured_target(server).is_some();
        let renamed = replication.change_identity(|current| {
            if let Some(identity) = identity {
                *current = identity;
                // A crash may have taken the log's end.
                current.begin = current.begin.min(end);
            }
            if known && !following {
                let end = current.stream_offset(end);
                current.history.rename(new_id(), end);
            }
        });
        renamed.map_err(|error| format!("can't write the replication state: {error}"))?;
    }
    if let Some(target) = configured_target(server) {
        replication.set_target(Some(target));
    }
    Ok(())
}

fn configured_target(server: &Server) -> Option<Target> {
    match server.config.read().value(id("replicaof")) {
        Value::ReplicaOf(Some((host, port))) => Some(Target {
            host: host.clone(),
            port: *port,
        }),
        _ => None,
    }
}

/// Goes on from where a dump is from, which everything that there is came from:
/// as a replica in its history, as a primary in one that follows on it. Without
/// room for a log, a full sync will have to do.
pub(super) fn go_on_from(server: &'static Server, origin: &Origin) -> Result<(), String> {
    let replication = &server.replication;
    let Position { id, offset } = origin.position;
    // From here on a pure cache logs, too: whoever has this dump may come.
    let log = match storage(server) {
        Ok(storage) => &storage.log,
        Err(error) => {
            tracing::warn!("Replication can't go on from where the dump is from: {error}");
            return Ok(());
        }
    };
    let end = log.end().0;
    let named = replication.change_identity(|identity| {
        identity.history = History::new(id);
        identity.base = offset.wrapping_sub(end) as i64;
        identity.begin = end;
        if !replication.is_replica() {
            identity.history.rename(new_id(), offset);
        }
    });
    named.map_err(|error| format!("can't write the replication state: {error}"))?;
    if replication.is_replica() {
        log.append_raw_selected(b"", origin.selected_db);
    }
    Ok(())
}

/// Starts the threads that are there from the start.
pub fn start(server: &'static Server) -> std::io::Result<()> {
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(body)
    };
    spawn("primary-link", Box::new(move || follower::run(server)))?;
    spawn("replication", Box::new(move || tend(server)))?;
    Ok(())
}

/// Log and tree; a pure cache gets some.
pub(super) fn storage(server: &'static Server) -> Result<&'static Storage, String> {
    match server.any_storage() {
        Some(storage) => Ok(storage),
        None => scratch::enable(server),
    }
}

/// Removes what replication has put on the disk of a pure cache.
pub fn clean_up() {
    scratch::remove();
}

/// Follows a primary, or none any more. Every stripe is locked by the caller.
/// Gives false if that is so already.
pub fn change_role(server: &'static Server, target: Option<Target>) -> std::io::Result<bool> {
    let replication = &server.replication;
    if replication.target() == target {
        return Ok(false);
    }
    if target.is_none()
        && let Some(storage) = server.any_storage()
    {
        let end = replication.stream_offset(storage.log.end().0);
        replication.change_identity(|identity| identity.history.rename(new_id(), end))?;
        storage.log.start_term(Term(storage.log.term().0 + 1));
        storage.log.force_select_next();
        if replication.identity().astray {
            // A writable replica's own writes are in RAM only, and what is
            // logged from now on builds on them.
            storage.checkpoints.request();
        }
    }
    if server.cluster.is_none() {
        let value = Value::ReplicaOf(target.as_ref().map(|t| (t.host.clone(), t.port)));
        // Who reads the configuration may wait for a stripe.
        match server.config.try_write_for(Duration::from_secs(2)) {
            Some(mut config) => config.set_value(id("replicaof"), value),
            None => tracing::warn!("CONFIG GET replicaof is out of date"),
        }
    }
    replication.set_target(target);
    server.gate_version.fetch_add(1, Ordering::Release);
    server.keyspace.own_expiries.take();
    // They are to learn of the new name.
    let end = server
        .any_storage()
        .map_or(0, |storage| storage.log.end().0);
    replication.replicas.dismiss(end);
    if replication.is_replica() {
        serve::unblock_all(server);
    }
    Ok(true)
}

/// As [`change_role`], for a caller who has locked nothing.
pub fn switch(server: &'static Server, target: Option<Target>) -> std::io::Result<bool> {
    let held = server.keyspace.lock(StripeSet::ALL);
    let changed = change_role(server, target);
    drop(held);
    changed
}

/// What is due now and then: pings, lag, waits.
fn tend(server: &'static Server) {
    let replication = &server.replication;
    let (mut seen, mut last_second, mut last_ping_ms) = (0, 0, 0);
    loop {
        replication.log_bell.wait(seen, Duration::from_millis(100));
        seen = replication.log_bell.rings();
        replication.replicas.answer_waiters(server);
        failover::advance(server);
        let now_ms = replication.now_ms();
        if now_ms / 1000 == last_second {
            continue;
        }
        last_second = now_ms / 1000;
        let (ping_ms, timeout_ms) = {
            let config = server.config.read();
            let seconds = |name| config.integer(id(name)).max(0) as u64;
            (
                seconds("repl-ping-replica-period") * 1000,
                seconds("repl-timeout") * 1000,
            )
        };
        server.count_good_replicas();
        for replica in replication.replicas.all() {
            let timed_out = replica.peer.lock().is_timed_out(now_ms, timeout_ms);
            if timed_out {
                tracing::warn!("Disconnecting timedout replica {}", replica.client.address);
                replica.client.kill();
            }
        }
        if let Some(log) = server.log().filter(|_| !replication.replicas.is_empty()) {
            retention::drop_laggards(server, log.end().0);
        }
        let silent = replication.is_silent() || replication.replicas.is_empty();
        if now_ms >= last_ping_ms + ping_ms && !silent {
            last_ping_ms = now_ms;
            ping(server);
        }
    }
}

/// Lets our replicas know that we are there.
pub(super) fn ping(server: &'static Server) {
    let paused = crate::connection::pause::is_on(server, crate::state::unix_ms());
    if let Some(log) = server.own_log().filter(|_| !paused) {
        log.append_aside(b"*1\r\n$4\r\nPING\r\n");
        log.write_soon();
    }
}

/// What asks replicas how far they are.
pub const ACK_REQUEST: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// Asks our replicas how far they are; gives where the log ended before the
/// request and where it does behind it. A replica has no say in its stream.
pub fn ask_for_acks(server: &Server) -> Option<(u64, u64)> {
    let log = server.own_log()?;
    let Offset(end) = log.append_aside(ACK_REQUEST);
    log.write_soon();
    Some((end - ACK_REQUEST.len() as u64, end))
}

/// Appends to our log what our primary's stream has beside the keyspace. It
/// belongs to no stripe, so the first stands for all: no checkpoint and no
/// change of the role come in between.
fn log_aside(server: &Server, generation: u64, part: &[u8], db: u32) {
    let _held = server.keyspace.lock(StripeSet::one(0));
    if server.replication.generation() == generation
        && let Some(log) = server.log()
    {
        log.append_raw_selected(part, db);
    }
}

/// The end of the stream that we have, and how much of it is on disk.
fn progress(server: &Server, storage: &Storage) -> (u64, u64) {
    let Offset(synced) = storage.log.synced();
    let replication = &server.replication;
    (
        replication.stream_offset(storage.log.end().0),
        replication.stream_offset(synced),
    )
}

/// Counts a snapshot that is being sent, for as long as it lives.
struct Counted<'a>(&'a std::sync::atomic::AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a std::sync::atomic::AtomicUsize) -> Counted<'a> {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
