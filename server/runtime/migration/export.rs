//! The source's side of an atomic slot migration: one thread.
//!
//! Until the target is granted the slots, whatever goes wrong ends the
//! migration and changes nothing here. Behind the grant writes to the slots
//! wait until it is known whether the target has claimed them.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use redoubt_cluster::slot_migration::{Message, State};
use redoubt_persistence::log::{LogReader, Offset};
use redoubt_persistence::rdb::dump;
use redoubt_persistence::tree::{Meta, ScanCursor, ScanRow, Snapshot};

use super::LOOK;
use super::filter::Filter;
use super::grant::Grant;
use super::peer::{Heard, Peer, TIMED_OUT, may_go_on, patience};
use crate::cluster::Cluster;
use crate::cluster::migration::{Job, Pause, Stop};
use crate::commands::effects::encode;
use crate::config::id;
use crate::keyspace::stripe::{StripeSet, stripe_of};
use crate::runtime::save::databases_of;
use crate::state::{Server, Storage};
use crate::storage::{LogHold, TurnWish};

/// Bytes that are read from the log, or gathered of the snapshot, at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Rows of the snapshot between two looks at the other end.
const ROWS_PER_SCAN: usize = 256;
/// Time between two signs of life.
const ACK_INTERVAL: Duration = Duration::from_secs(1);
/// The log's rest with which writes may be held back: what takes a few
/// milliseconds to send.
const SMALL_REST_BYTES: u64 = 64 << 10;
/// With every second for which the rest does not get that small, it may be
/// twice as large, up to this.
const LARGEST_REST_BYTES: u64 = 8 << 20;

/// Starts the thread of a migration.
pub fn start(server: &'static Server, job: Arc<Job>) -> std::io::Result<()> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    std::thread::Builder::new()
        .name("slot-export".into())
        .spawn(move || {
            let export = Export {
                server,
                cluster,
                job: job.clone(),
            };
            match export.run() {
                Ok(()) => job.enter(State::Success, ""),
                Err(why) => match job.stopped().unwrap_or(why) {
                    Stop::Cancelled => job.enter(State::Cancelled, ""),
                    Stop::Failed(message) => job.enter(State::Failed, &message),
                },
            }
        })?;
    Ok(())
}

pub(super) struct Export {
    pub(super) server: &'static Server,
    pub(super) cluster: &'static Cluster,
    pub(super) job: Arc<Job>,
}

/// The log's tail on its way to the target.
struct Tail {
    reader: LogReader,
    filter: Filter,
    hold: LogHold,
    said: Instant,
}

pub(super) fn failed(why: impl std::fmt::Display) -> Stop {
    Stop::Failed(why.to_string())
}

pub(super) fn lost() -> Stop {
    failed(
        "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information.",
    )
}

impl Export {
    fn run(&self) -> Result<(), Stop> {
        let address = self.address()?;
        let mut peer = self.connect(address)?;
        self.establish(&mut peer)?;
        let storage = crate::runtime::replication::storage(self.server).map_err(failed)?;
        let mut tail = self.send_snapshot(&mut peer, storage)?;
        self.job.enter(State::Streaming, "");
        let turn = self.stream(&mut peer, &mut tail, storage)?;
        let (pause, grant) = self.pause(&mut peer, &mut tail, storage)?;
        self.job.enter(State::FailoverGranted, "");
        let granted = peer.say(&Message::FailoverGranted);
        // Part of it may have arrived even so.
        let outcome = self.settle(&mut peer, address, granted.is_err(), turn);
        drop(grant);
        drop(pause);
        if outcome.is_err() {
            self.serve_waiting();
        }
        outcome
    }

    fn address(&self) -> Result<SocketAddr, Stop> {
        let found = self.cluster.read(|bus| {
            let key = bus.table().find(&self.job.plan.target)?;
            let node = bus.table().get(key)?;
            let ip = node.address.ip.parse().ok()?;
            Some(SocketAddr::new(ip, node.address.port))
        });
        found.ok_or_else(|| failed("Target node not found in cluster"))
    }

    /// How long a hand-over may take.
    pub(super) fn hand_over_patience(&self) -> Duration {
        let ms = self
            .cluster
            .read(|bus| bus.options().manual_failover_timeout_ms);
        Duration::from_millis(ms)
    }

    fn connect(&self, address: SocketAddr) -> Result<Peer, Stop> {
        let peer = Peer::connect(self.server, self.cluster, &self.job, address);
        peer.map_err(|error| {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            failed(format!("Unable to connect to target node: {text}"))
        })
    }

    pub(super) fn login(&self) -> Vec<Vec<u8>> {
        let config = self.server.config.read();
        let words = [id("primaryuser"), id("primaryauth")].map(|id| config.render(id));
        let mut words: Vec<Vec<u8>> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if !words.is_empty() {
            words.insert(0, b"AUTH".to_vec());
        }
        words
    }

    fn establish(&self, peer: &mut Peer) -> Result<(), Stop> {
        let login = self.login();
        if !login.is_empty() {
            self.job.enter(State::Authenticating, "");
            let words: Vec<&[u8]> = login.iter().map(Vec::as_slice).collect();
            peer.send(&words).map_err(|_| lost())?;
            self.expect_ok(peer, "Failed to AUTH to target node")?;
        }
        self.job.enter(State::Establishing, "");
        let plan = &self.job.plan;
        let message = Message::Establish {
            source: plan.source,
            name: plan.name,
            slots: plan.slots.clone(),
        };
        peer.say(&message).map_err(|_| lost())?;
        self.expect_ok(peer, "Failed to establish slot migration")?;
        peer.say(&Message::Ack).map_err(|_| lost())
    }

    fn expect_ok(&self, peer: &mut Peer, what: &str) -> Result<(), Stop> {
        let began = Instant::now();
        loop {
            self.check()?;
            match peer.hear(LOOK) {
                Some(Heard::Line(line)) if line.starts_with('+') => return Ok(()),
                Some(Heard::Line(line)) => {
                    let line = line.trim_start_matches('-');
                    return Err(failed(format!("{what}: {line}")));
                }
                Some(Heard::Closed) => return Err(lost()),
                Some(Heard::Message(_)) => {}
                None if began.elapsed() > patience(self.server) => return Err(failed("Timed out")),
                None => {}
            }
        }
    }

    /// Whether there is any sense in going on.
    fn check(&self) -> Result<(), Stop> {
        may_go_on(self.cluster, &self.job)
    }

    /// A sign of life, when one is due.
    fn keep_alive(&self, peer: &mut Peer, said: &mut Instant) -> Result<(), Stop> {
        if said.elapsed() >= ACK_INTERVAL {
            *said = Instant::now();
            self.check()?;
            peer.say(&Message::Ack).map_err(|_| lost())?;
        }
        Ok(())
    }

    /// Sends the slots' keys as of one offset of the log; gives the log from
    /// there on.
    fn send_snapshot(&self, peer: &mut Peer, storage: &'static Storage) -> Result<Tail, Stop> {
        self.job.enter(State::WaitingToSnapshot, "");
        let hold = storage.hold_log(0);
        let number = storage.checkpoints.request();
        let mut said = Instant::now();
        while !storage.checkpoints.wait_made(number, LOOK) {
            self.check()?;
            self.keep_alive(peer, &mut said)?;
        }
        self.job.enter(State::Snapshotting, "");
        let snapshot = storage.tree.snapshot().map_err(failed)?;
        let meta = snapshot.meta().map_err(failed)?;
        hold.move_to(meta.offset);
        self.send_rows(peer, &snapshot, &meta, &mut said)?;
        peer.say(&Message::SnapshotEof).map_err(|_| lost())?;
        let reader = storage.log.reader(Offset(meta.offset)).map_err(failed)?;
        Ok(Tail {
            reader,
            filter: Filter::new(self.job.plan.slots.clone(), meta.selected_db),
            hold,
            said,
        })
    }

    fn send_rows(
        &self,
        peer: &mut Peer,
        snapshot: &Snapshot,
        meta: &Meta,
        said: &mut Instant,
    ) -> Result<(), Stop> {
        let mut out = Vec::with_capacity(CHUNK_BYTES);
        for database in databases_of(self.server, meta) {
            if snapshot.key_count(database.physical).map_err(failed)? == 0 {
                continue;
            }
            encode(
                &mut out,
                &[b"SELECT", database.logical.to_string().as_bytes()],
            );
            for slot in self.job.plan.slots.iter() {
                let mut cursor = ScanCursor::start();
                while !cursor.is_done() {
                    let mut show = |row: ScanRow<'_>| {
                        restore(&row, &mut out);
                        match out.len() >= CHUNK_BYTES {
                            true => ControlFlow::Break(()),
                            false => ControlFlow::Continue(()),
                        }
                    };
                    let at = (database.physical, slot.number());
                    snapshot
                        .scan_slot(at.0, at.1, &mut cursor, ROWS_PER_SCAN, &mut show)
                        .map_err(failed)?;
                    if out.len() >= CHUNK_BYTES {
                        peer.write_all(&out).map_err(|_| lost())?;
                        out.clear();
                        self.keep_alive(peer, said)?;
                    }
                }
            }
        }
        peer.write_all(&out).map_err(|_| lost())
    }

    /// Sends what happens to the slots until the target has stored the
    /// snapshot, the log's rest is small, and no checkpoint is under way. None
    /// begins as long as what this gives lives.
    fn stream<'s>(
        &self,
        peer: &mut Peer,
        tail: &mut Tail,
        storage: &'s Storage,
    ) -> Result<RwLockReadGuard<'s, ()>, Stop> {
        let (mut asked, mut wish) = (None::<Instant>, None::<TurnWish<'_>>);
        let mut heard = Instant::now();
        loop {
            let idle = self.forward(peer, tail, CHUNK_BYTES)? == 0;
            let wait = if idle {
                Duration::from_millis(2)
            } else {
                Duration::ZERO
            };
            match peer.hear(wait) {
                Some(Heard::Message(Message::RequestPause)) => {
                    self.job.enter(State::WaitingToPause, "");
                    asked = Some(Instant::now());
                }
                Some(Heard::Closed) => return Err(lost()),
                Some(Heard::Line(line)) => {
                    let line = line.trim_start_matches('-');
                    return Err(failed(format!("Target node refused: {line}")));
                }
                Some(_) => heard = Instant::now(),
                None if heard.elapsed() > patience(self.server) => return Err(lost()),
                None => {}
            }
            self.keep_alive(peer, &mut tail.said)?;
            self.check()?;
            let end = storage.log.end().0;
            let rest = end.saturating_sub(tail.reader.offset().0);
            self.job.remaining_bytes.store(rest, Ordering::Relaxed);
            if asked.is_none_or(|since| rest > self.small_rest(since)) {
                // It may take long to get there.
                wish = None;
            } else if let Some(turn) = storage.tree_turn.try_share() {
                return Ok(turn);
            } else {
                wish = wish.or_else(|| Some(storage.wish_for_turn()));
            }
        }
    }

    /// With which rest of the log writes may be held back.
    fn small_rest(&self, since: Instant) -> u64 {
        let directive = id("slot-migration-max-failover-repl-bytes");
        // Without a limit it is the largest number.
        let configured = self.server.config.read().integer(directive).max(0) as u64;
        let seconds = since.elapsed().as_secs().min(32);
        let patient = (SMALL_REST_BYTES << seconds).min(LARGEST_REST_BYTES);
        patient.max(configured)
    }

    /// Sends up to `max` bytes of the log, as far as they concern the slots;
    /// gives how many there were.
    fn forward(&self, peer: &mut Peer, tail: &mut Tail, max: usize) -> Result<usize, Stop> {
        let mut read = Vec::new();
        let count = tail.reader.next(&mut read, max).map_err(failed)?;
        if count != 0 {
            let mut out = Vec::new();
            tail.filter.feed(&read, &mut out).map_err(Stop::Failed)?;
            if !out.is_empty() {
                peer.write_all(&out).map_err(|_| lost())?;
            }
            tail.hold.move_to(tail.reader.offset().0);
        }
        Ok(count)
    }

    /// Holds back writes, sends the rest of the log, and waits until the target
    /// has stored that and asks for the slots. They are as good as granted then.
    fn pause(
        &self,
        peer: &mut Peer,
        tail: &mut Tail,
        storage: &Storage,
    ) -> Result<(Pause<'static>, Grant<'static>), Stop> {
        let pause = Pause::begin(self.cluster, self.job.plan.slots.clone());
        peer.deadline = Some(Instant::now() + self.hand_over_patience());
        match self.hand_over(peer, tail, storage) {
            Ok(grant) => Ok((pause, grant)),
            Err(why) => {
                drop(pause);
                self.serve_waiting();
                Err(why)
            }
        }
    }

    fn hand_over(
        &self,
        peer: &mut Peer,
        tail: &mut Tail,
        storage: &Storage,
    ) -> Result<Grant<'static>, Stop> {
        // Who still writes has locked its keys by now, or looks again once it has.
        let mut stripes = StripeSet::default();
        let slots = self.job.plan.slots.iter();
        slots.for_each(|slot| stripes.add(stripe_of(slot.number())));
        let is_over = || peer.is_late() || self.check().is_err();
        let locked = self.server.keyspace.lock_unless(stripes, is_over);
        if locked.map(drop).is_none() {
            self.check()?;
            return Err(failed(TIMED_OUT));
        }
        let end = storage.log.end();
        storage.log.write_soon();
        self.job.enter(State::FailoverPaused, "");
        while tail.reader.offset() < end {
            if self.forward(peer, tail, (end.0 - tail.reader.offset().0) as usize)? == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            self.check()?;
            if peer.is_late() {
                return Err(failed(TIMED_OUT));
            }
        }
        peer.say(&Message::Paused).map_err(|_| lost())?;
        loop {
            match peer.hear(LOOK) {
                Some(Heard::Message(Message::RequestFailover)) => {
                    self.check()?;
                    return Grant::give(self.cluster, &self.job.plan.slots).map_err(failed);
                }
                Some(Heard::Closed) => return Err(lost()),
                _ => self.check()?,
            }
            if peer.is_late() {
                return Err(failed(TIMED_OUT));
            }
        }
    }

    /// Those who waited for keys of the slots, which are still here, may have
    /// been passed by meanwhile.
    fn serve_waiting(&self) {
        let mut changes = Vec::new();
        for client in self.server.clients.all() {
            let waiter = client.waiter.lock().clone();
            if let Some(waiter) = waiter {
                changes.extend(
                    waiter
                        .keys
                        .iter()
                        .map(|key| crate::keyspace::recorder::Change {
                            class: 0,
                            event: "",
                            db: waiter.db,
                            key: key.as_slice().into(),
                            changed: true,
                        }),
                );
            }
        }
        crate::connection::serve::serve_blocked(self.server, changes);
    }
}

/// The command that makes a key as it is.
fn restore(row: &ScanRow<'_>, out: &mut Vec<u8>) {
    let payload = dump::wrap(row.payload);
    let expire_at = row.expire_at_ms.unwrap_or(0).to_string();
    let words: [&[u8]; 6] = [
        b"RESTORE",
        row.key,
        expire_at.as_bytes(),
        &payload,
        b"REPLACE",
        b"ABSTTL",
    ];
    encode(out, &words);
}
