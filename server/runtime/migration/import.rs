//! The target's side of an atomic slot migration: one thread.
//!
//! What it stores enters the log and reaches the replicas as any write does,
//! but until the slots are claimed they are another node's: their keys are not
//! shown, do not expire by themselves, and are deleted when the migration ends
//! otherwise, or when the server starts again.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use redoubt_cluster::slot_migration::{GRANT_SHARE, Message, State};
use redoubt_cluster::slots::Slot;
use socket2::Socket;

use super::LOOK;
use super::peer::TIMED_OUT;
use crate::cluster::migration::{FAILED_OVER, Job, Stop};
use crate::cluster::{Cluster, keys};
use crate::commands::command::flag;
use crate::commands::effects::encode;
use crate::commands::keys::each_key;
use crate::commands::table::{Found, table};
use crate::config::id;
use crate::connection::dispatch::{Request, call};
use crate::connection::gate;
use crate::connection::session::Session;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::resp::stream::{CommandStream, Part};
use crate::runtime::replication;
use crate::state::{Server, Storage, unix_ms};
use crate::stats::add;

/// Bytes that are read at a time; what the source has sent ahead of that is
/// what writes to the slots have to wait for in the end.
const CHUNK_BYTES: usize = 64 << 10;
/// Time between two signs of life.
const ACK_INTERVAL: Duration = Duration::from_secs(1);
/// For how long no checkpoint begins once the source is to hold back writes. It
/// may not come to that: they may never leave it so little to send.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Time between two requests to the replicas to tell how far they are.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// How far behind the replicas may be when the source is asked to hold back
/// writes: what takes a few milliseconds to send.
const NEAR_BYTES: u64 = 1 << 20;
/// A replica that has been silent for longer than so many seconds is not waited
/// for: it acknowledges each second.
const SILENT_S: u64 = 2;
/// Time between two looks at what the replicas have while writes wait.
const GLANCE: Duration = Duration::from_micros(500);

/// Takes over the connection of a source whose migration was accepted; `rest`
/// is what it has sent besides. False if that can't be.
pub fn take_over(server: &'static Server, session: &mut Session, rest: Vec<u8>) -> bool {
    let (Some(job), Some(cluster)) = (session.slot_import.take(), &server.cluster) else {
        return false;
    };
    let client = session.client.clone();
    let socket = client.duplicate_socket();
    let started = socket.and_then(|socket| {
        let _ = socket.set_recv_buffer_size(CHUNK_BYTES);
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut own = Session::new(client, true);
        own.routing.internal = true;
        own.routing.importing = true;
        let import = Import {
            server,
            cluster,
            job: job.clone(),
            socket,
            session: own,
            reply: ReplyBuffer::new(Protocol::Resp2),
            stream: CommandStream::beginning_with(rest),
            said: Instant::now(),
            heard: Instant::now(),
            awaits_pause: false,
            near: None,
            asked: None,
        };
        let thread = std::thread::Builder::new().name("slot-import".into());
        thread.spawn(move || import.run()).map(|_| ())
    });
    if let Err(error) = &started {
        job.enter(State::Failed, &error.to_string());
    }
    started.is_ok()
}

struct Import {
    server: &'static Server,
    cluster: &'static Cluster,
    job: Arc<Job>,
    socket: Socket,
    session: Session,
    reply: ReplyBuffer,
    stream: CommandStream,
    said: Instant,
    heard: Instant,
    /// The snapshot is stored, and the source is to hold back writes.
    awaits_pause: bool,
    /// When the replicas were asked last, before that, how far they are.
    near: Option<Instant>,
    /// When the slots were asked for.
    asked: Option<Instant>,
}

fn failed(why: impl std::fmt::Display) -> Stop {
    Stop::Failed(why.to_string())
}

fn lost() -> Stop {
    failed(
        "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information.",
    )
}

impl Import {
    fn run(mut self) {
        let foreign = self.cluster.migrations.hide_foreign();
        let outcome = self.follow();
        match outcome {
            Ok(()) => self.job.enter(State::Success, ""),
            Err(why) => {
                // Whoever asks next finds none of the slots' keys, and waits
                // until that is so.
                let slots: Vec<Slot> = self.job.plan.slots.iter().collect();
                self.cluster.migrations.will_delete(&slots);
                match why {
                    Stop::Cancelled => self.job.enter(State::Cancelled, ""),
                    Stop::Failed(message) => self.job.enter(State::Failed, &message),
                }
                // The source serves them again; the deletion may have to wait.
                let _ = self.socket.shutdown(Shutdown::Both);
                keys::delete_foreign(self.server, &slots);
                self.cluster.migrations.has_deleted(&slots);
            }
        }
        drop(foreign);
        let _ = self.socket.shutdown(Shutdown::Both);
        self.server.clients.remove(self.session.client.id);
    }

    fn follow(&mut self) -> Result<(), Stop> {
        self.make_room()?;
        (&self.socket).write_all(b"+OK\r\n").map_err(|_| lost())?;
        self.job.enter(State::ReceivingSnapshot, "");
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut claimed = self.run_whole(b"")?;
        // From the pause on no checkpoint is to be under way.
        let (mut wish, mut turn) = (None, None::<RwLockReadGuard<'_, ()>>);
        let mut since = Instant::now();
        while !claimed {
            self.check()?;
            if self.awaits_pause && self.replicas_are_near() {
                let storage = self.server.any_storage();
                wish = wish.or_else(|| storage.map(Storage::wish_for_turn));
                turn = turn.or_else(|| storage?.tree_turn.try_share());
                if turn.is_some() || storage.is_none() {
                    wish = None;
                    since = Instant::now();
                    self.ask_for_pause()?;
                }
            } else if turn.is_some() && since.elapsed() > TURN_PATIENCE {
                turn = None;
            }
            match (&self.socket).read(&mut chunk) {
                Ok(0) => return Err(lost()),
                Ok(count) => {
                    self.heard = Instant::now();
                    self.job.heard();
                    add(&self.session.client.bytes_in, count as u64);
                    claimed = self.run_whole(&chunk[..count])?;
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Err(lost()),
            }
        }
        Ok(())
    }

    fn config_seconds(&self, directive: crate::config::DirectiveId) -> Duration {
        let seconds = self.server.config.read().integer(directive);
        Duration::from_secs(seconds.clamp(1, 3600) as u64)
    }

    /// Waits until nothing of these slots is left from before.
    fn make_room(&mut self) -> Result<(), Stop> {
        while self.cluster.migrations.is_deleting(&self.job.plan.slots) {
            self.check()?;
            std::thread::sleep(LOOK);
        }
        let slots: Vec<Slot> = self.job.plan.slots.iter().collect();
        keys::delete_foreign(self.server, &slots);
        Ok(())
    }

    /// Whether there is any sense in going on; a sign of life when one is due.
    fn check(&mut self) -> Result<(), Stop> {
        if let Some(why) = self.job.stopped() {
            return Err(why);
        }
        if self.session.client.killed.load(Ordering::Acquire)
            || self.heard.elapsed() > self.config_seconds(id("repl-timeout"))
        {
            return Err(lost());
        }
        let plan = &self.job.plan;
        let may = self
            .cluster
            .read(|bus| bus.may_import(&plan.source, &plan.slots));
        if may.is_err() || self.server.replication.is_replica() {
            return Err(failed(FAILED_OVER));
        }
        if self.said.elapsed() >= ACK_INTERVAL {
            self.said = Instant::now();
            self.say(&Message::Ack)?;
        }
        Ok(())
    }

    fn say(&self, message: &Message) -> Result<(), Stop> {
        let words = message.words();
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &words);
        (&self.socket).write_all(&bytes).map_err(|_| lost())
    }

    /// Takes in more and runs what is complete. True once the slots are this
    /// node's.
    fn run_whole(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        let mut stream = std::mem::take(&mut self.stream);
        let garbled = || failed("Failed to process command during slot migration");
        // With the claim comes the end.
        let fed = stream.feed(bytes, |part| match part {
            Part::Command { args, raw } => match self.take(args, raw) {
                Ok(false) => Ok(()),
                Ok(true) => Err(None),
                Err(stop) => Err(Some(stop)),
            },
            Part::Filler(_) => Ok(()),
            Part::Garbled => Err(Some(garbled())),
        });
        self.stream = stream;
        self.session.tally.flush(&self.server.stats);
        match fed {
            Ok(()) => Ok(false),
            Err(None) => Ok(true),
            Err(Some(stop)) => Err(stop),
        }
    }

    fn take(&mut self, args: &[&[u8]], raw: &[u8]) -> Result<bool, Stop> {
        let is = |at: usize, name: &str| {
            args.get(at)
                .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        if is(0, "cluster") && is(1, "syncslots") {
            let message = Message::parse(&args[2..]);
            return match message {
                Some(message) => self.hear(message),
                None => Err(self.unfit(raw)),
            };
        }
        if is(0, "select") && args.len() == 2 {
            let number = std::str::from_utf8(args[1])
                .ok()
                .and_then(|n| n.parse().ok());
            let db = number.filter(|db| *db < self.server.keyspace.databases());
            self.session.db = db.ok_or_else(|| failed("DB index is out of range"))?;
            return Ok(false);
        }
        // Nobody sees these keys yet, so what belongs together may be stored
        // piece by piece.
        if ["multi", "exec", "ping"].iter().any(|name| is(0, name)) {
            return Ok(false);
        }
        self.store(args, raw)?;
        Ok(false)
    }

    fn unfit(&self, raw: &[u8]) -> Stop {
        let shown = String::from_utf8_lossy(&raw[..raw.len().min(128)]).into_owned();
        let name = &self.job.plan.name;
        tracing::warn!("Slot migration {name}: the source sent {shown:?}");
        failed("Failed to process command during slot migration. Check logs for more information")
    }

    /// Runs a command on the slots' keys.
    fn store(&mut self, args: &[&[u8]], raw: &[u8]) -> Result<(), Stop> {
        let server = self.server;
        let found = table().find(args).ok_or_else(|| self.unfit(raw))?;
        let command = found.command;
        let (mut inside, mut outside) = (false, false);
        if command.arity_fits(args.len()) {
            each_key(command, args, |at, _| {
                match self.job.plan.slots.contains(Slot::of_key(args[at])) {
                    true => inside = true,
                    false => outside = true,
                }
            });
        }
        if !inside || outside || !command.has(flag::WRITE) {
            return Err(self.unfit(raw));
        }
        if server.settings.maxmemory.load(Ordering::Relaxed) != 0 {
            crate::eviction::make_room(server);
        }
        for refused in [gate::storage, gate::memory] {
            refused(server, &self.session, command, args).map_err(failed)?;
        }
        let slow_us = server.health.slow_us.load(Ordering::Relaxed);
        if slow_us != 0 {
            std::thread::sleep(Duration::from_micros(slow_us / 64));
        }
        self.execute(found, args, raw)
    }

    fn execute(&mut self, found: Found, args: &[&[u8]], raw: &[u8]) -> Result<(), Stop> {
        loop {
            // Its replica is told up to which offset there is anything.
            if keys::is_handed_over(self.server, &mut self.session) {
                return Err(failed(FAILED_OVER));
            }
            let request = Request {
                found,
                args,
                raw: Some(raw),
                key: None,
                now_ms: unix_ms(),
            };
            call(self.server, &mut self.session, &mut self.reply, &request);
            if !std::mem::take(&mut self.session.postponed) {
                break;
            }
            // A long script has the keys.
            self.check()?;
            std::thread::sleep(LOOK);
        }
        let refused = self.reply.buf.first() == Some(&b'-');
        if refused {
            let error = String::from_utf8_lossy(&self.reply.buf).trim().to_owned();
            let (name, command) = (&self.job.plan.name, found.command.name);
            tracing::warn!("Slot migration {name}: {command} fails here: {error}");
        }
        self.reply.truncate(0);
        match refused {
            true => Err(self.unfit(raw)),
            false => Ok(()),
        }
    }

    fn hear(&mut self, message: Message) -> Result<bool, Stop> {
        match (message, self.job.state()) {
            (Message::Ack, _) => {}
            (Message::SnapshotEof, State::ReceivingSnapshot) => {
                self.awaits_pause = true;
            }
            (Message::Paused, State::WaitingForPaused) => {
                self.await_replicas()?;
                self.job.enter(State::FailoverRequested, "");
                self.asked = Some(Instant::now());
                self.say(&Message::RequestFailover)?;
            }
            (Message::FailoverGranted, State::FailoverRequested) => {
                self.claim()?;
                return Ok(true);
            }
            (message, state) => {
                let state = state.name();
                let what = format!("{:?} came unexpectedly while {state}", message);
                return Err(failed(what));
            }
        }
        Ok(false)
    }

    fn ask_for_pause(&mut self) -> Result<(), Stop> {
        self.awaits_pause = false;
        // So that little is left to sync when writes wait.
        self.sync()?;
        self.job.enter(State::WaitingForPaused, "");
        self.say(&Message::RequestPause)
    }

    /// Whether the replicas have nearly all that was stored. With the claim the
    /// source and its replicas drop these keys: if this node dies right then, its
    /// replicas are who has them.
    fn replicas_are_near(&mut self) -> bool {
        if self.near.is_none_or(|at| at.elapsed() > ASK_INTERVAL) {
            self.near = Some(Instant::now());
            replication::ask_for_acks(self.server);
        }
        let end = self.server.own_log().map_or(0, |log| log.end().0);
        self.replicas_have(end.saturating_sub(NEAR_BYTES))
    }

    fn replicas_have(&self, log_offset: u64) -> bool {
        let replication = &self.server.replication;
        let (offset, now_ms) = (replication.stream_offset(log_offset), replication.now_ms());
        replication.replicas.all_have(offset, now_ms, SILENT_S)
    }

    /// Waits until the replicas have all that was stored. Writes wait meanwhile.
    fn await_replicas(&mut self) -> Result<(), Stop> {
        let Some((end, _)) = replication::ask_for_acks(self.server) else {
            return Ok(());
        };
        let (began, patience) = (Instant::now(), self.grant_patience());
        while !self.replicas_have(end) {
            if began.elapsed() > patience {
                return Err(failed("The replicas do not have all keys in time"));
            }
            self.check()?;
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The part of the source's patience that is this node's.
    fn grant_patience(&self) -> Duration {
        let ms = self
            .cluster
            .read(|bus| bus.options().manual_failover_timeout_ms);
        Duration::from_millis(ms / GRANT_SHARE)
    }

    fn sync(&self) -> Result<(), Stop> {
        match self.server.log() {
            Some(log) => log.sync_to(log.end()).map_err(failed),
            None => Ok(()),
        }
    }

    /// Makes what was stored durable and the slots this node's.
    fn claim(&mut self) -> Result<(), Stop> {
        self.job.enter(State::FailoverGranted, "");
        self.sync()?;
        self.check()?;
        let patience = self.grant_patience();
        let plan = &self.job.plan;
        // Looked at last of all: this process may be stopped anywhere before.
        self.cluster.order(|bus| {
            if self.asked.is_none_or(|since| since.elapsed() > patience) {
                return Err(failed(TIMED_OUT));
            }
            let claimed = bus.claim_granted(&plan.source, &plan.slots);
            claimed.map_err(failed)
        })
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
