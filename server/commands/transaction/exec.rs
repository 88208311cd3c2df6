//! EXEC: runs the queued commands as one, under the locks of all their keys;
//! their effects enter the log contiguously, between MULTI and EXEC (I1).

use std::sync::atomic::Ordering;

use crate::cluster::slot_stats;
use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::effects::{Effects, encode, encode_expired, encoded_len};
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::{Found, table};
use crate::connection::conclusion::{
    after, announce, append_expired, break_watches, log_stream, tell,
};
use crate::connection::dispatch::{open_unless_busy, reply_error, run as run_command, stripes_of};
use crate::connection::session::{Queued, Session, Transaction};
use crate::connection::{gate, output};
use crate::keyspace::KeyRef;
use crate::keyspace::db::Db;
use crate::keyspace::recorder::{Expired, expired_keys};
use crate::keyspace::stripe::StripeSet;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;
use crate::stats::add;

/// EXEC
pub const COMMAND: Command = Command {
    name: "exec",
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Runs the commands queued since MULTI as one.",
    complexity: "Depends on commands in the transaction",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_COMMANDLOG,
    acl: acl::TRANSACTION,
    locks: Locks::None,
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(CommandError::err("EXEC without MULTI"));
    };
    ctx.session.client.queued.store(-1, Ordering::Relaxed);
    let held_bytes = ctx.session.client.held.queued.swap(0, Ordering::Relaxed);
    if transaction.broken {
        super::abandon(ctx.server, ctx.session);
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    let queued = &transaction.queued;
    let (server, session) = (ctx.server, &mut *ctx.session);
    match crate::cluster::route::check_transaction(server, session, queued, None) {
        Ok(()) => {}
        Err(CommandError::Paused) => {
            put_off(session, transaction, held_bytes);
            return Ok(());
        }
        Err(error) => {
            let broken = session.client.watch_broken.load(Ordering::Acquire);
            super::abandon(server, session);
            if broken {
                // Wherever its keys are by now.
                ctx.reply.null_array();
                return Ok(());
            }
            return Err(error);
        }
    }
    let refused = queued
        .iter()
        .find_map(|queued| gate::check_writes(ctx.server, ctx.session, queued.command).err());
    match refused {
        None => {}
        Some(CommandError::Paused) => {
            put_off(ctx.session, transaction, held_bytes);
            return Ok(());
        }
        Some(error) => {
            super::abandon(ctx.server, ctx.session);
            return Err(CommandError::text(format!(
                "EXECABORT Transaction discarded because of: {error}"
            )));
        }
    }
    let now_ms = ctx.now_ms();
    execute(ctx.server, ctx.session, ctx.reply, queued, now_ms);
    if ctx.session.postponed {
        put_off(ctx.session, transaction, held_bytes);
        return Ok(());
    }
    super::unwatch_all(ctx.server, ctx.session);
    Ok(())
}

/// The transaction is tried again later, as a whole.
fn put_off(session: &mut Session, transaction: Transaction, held_bytes: u64) {
    let count = transaction.queued.len() as i64;
    session.client.queued.store(count, Ordering::Relaxed);
    let held = &session.client.held.queued;
    held.store(held_bytes, Ordering::Relaxed);
    session.transaction = Some(transaction);
    session.postponed = true;
}

/// The stripes of all queued commands and watched keys.
fn stripes(session: &Session, queued: &[Queued]) -> StripeSet {
    let mut stripes = StripeSet::default();
    for Queued { command, args } in queued {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        // A command that locks for itself can't within a transaction.
        let own = match command.locks {
            Locks::None if command.group != Group::Connection => StripeSet::ALL,
            _ => stripes_of(command, &args),
        };
        stripes.add_all(own);
    }
    for (_, key) in &session.watched {
        stripes.add(KeyRef::new(key).stripe());
    }
    stripes
}

fn execute(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    queued: &[Queued],
    now_ms: i64,
) {
    let stripes = stripes(session, queued);
    let opened = open_unless_busy(server, session, stripes, now_ms);
    session.postponed = opened.is_none();
    let Some(mut db) = opened else { return };
    let hold = watches_hold(server, session, &mut db);
    append_expired(server, &db.recorder);
    if !may_begin(server, session, reply, queued, hold, &mut db) {
        // Watched keys may have expired.
        let mut recorder = std::mem::take(&mut db.recorder);
        announce(server, session, &mut recorder);
        drop(db);
        return after(server, session, recorder);
    }
    reply.array(queued.len());
    let (mut log, mut dirty) = (Effect::default(), 0);
    let expired_before = db.recorder.expired.len();
    let mut expired_logged = expired_before;
    for Queued { command, args } in queued {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let index = session.db;
        if changes_role(command) {
            settle_role(server, std::mem::take(&mut log));
        }
        db.select(index);
        let mut ctx = Context {
            server,
            session,
            db,
            reply,
            effects: Effects::default(),
            in_transaction: true,
            holds_all: stripes == StripeSet::ALL,
            prepared: None,
            block: None,
        };
        ctx.db.recorder.dirty = 0;
        run_queued(&mut ctx, numbered(command, &args), &args, now_ms);
        if changes_role(command) {
            server.replication.replicas.set_fence(None);
            server.replication.log_bell.ring();
        }
        let expired = &ctx.db.recorder.expired[expired_logged..];
        log.remove(server.settings.expire_word(), expired);
        expired_logged = ctx.db.recorder.expired.len();
        if ctx.db.recorder.dirty != 0 {
            dirty += ctx.db.recorder.dirty;
            ctx.session.half_way |= !command.keys.is_empty();
            log.add(index, &ctx.effects, &args);
        }
        db = ctx.db;
    }
    session.half_way = false;
    let mut recorder = std::mem::take(&mut db.recorder);
    recorder.dirty = dirty;
    if session.following.is_some() {
        log_stream(server, session, &db);
    } else if !session.replaying {
        append_effect(server, session, &log, &recorder.expired[expired_before..]);
    }
    tell(server, session, &mut recorder);
    drop(db);
    after(server, session, recorder);
}

fn numbered(command: &'static Command, args: &[&[u8]]) -> Found {
    table().find(args).unwrap_or_else(|| Found::new(command, 0))
}

/// Appends what a transaction did, by which keys expired that it came upon.
fn append_effect(server: &Server, session: &Session, log: &Effect, expired: &[Expired]) {
    if server.log().is_some() {
        add(&server.stats.expired, expired_keys(expired));
    }
    log.append(server);
    if slot_stats::kept(server).is_some() {
        let slot = session.client.whole.slot();
        slot_stats::note_replicated(server, slot, log.streamed_len());
    }
}

/// What was done so far was done in the role of before (I1); but a replica
/// that is to lose its primary by it gets nothing of the transaction.
fn settle_role(server: &Server, log: Effect) {
    let end = server.any_storage().map(|storage| storage.log.end().0);
    server.replication.replicas.set_fence(end);
    log.append(server);
}

/// Whether a command may make a primary a replica, which logs nothing itself.
fn changes_role(command: &Command) -> bool {
    matches!(
        command.name,
        "replicaof" | "slaveof" | "cluster|replicate" | "cluster|reset"
    )
}

/// Whether a transaction may run, with its keys locked; if not it is refused, or
/// put off until it is known who serves its slot. `hold`: no watched key has
/// changed.
fn may_begin(
    server: &Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    queued: &[Queued],
    hold: bool,
    db: &mut Db<'_>,
) -> bool {
    if !hold || session.is_outdated(server) {
        reply.null_array();
        return false;
    }
    match still_allowed(server, session, queued, db) {
        Ok(()) => return true,
        Err(CommandError::Paused) => session.postponed = true,
        Err(error) => reply_error(server, reply, &error),
    }
    false
}

/// Keys may have moved to another node, and the server may have become a
/// replica, before the locks were had.
fn still_allowed(
    server: &Server,
    session: &Session,
    queued: &[Queued],
    db: &mut Db<'_>,
) -> CommandResult {
    if session.passed_long_ago(server) {
        return Err(CommandError::Paused);
    }
    crate::cluster::route::check_transaction(server, session, queued, Some(db))?;
    if session.replaying || !server.replication.is_replica() {
        return Ok(());
    }
    queued
        .iter()
        .try_for_each(|queued| gate::read_only(server, session, queued.command, &[]))
}

/// Whether no watched key has changed; one that has expired by now counts as changed.
fn watches_hold(server: &Server, session: &Session, db: &mut Db<'_>) -> bool {
    for (index, key) in &session.watched {
        db.select(*index);
        let _ = db.exists(key);
    }
    db.select(session.db);
    if !db.recorder.expired.is_empty() {
        break_watches(server, &db.recorder);
    }
    !session.client.watch_broken.load(Ordering::Acquire)
}

/// A primary's transaction holds only what has changed something there, so that
/// a command of it which fails here meets another state.
#[cold]
fn note_misfit(ctx: &mut Context<'_>, command: &Command, mark: usize) {
    if ctx.db.recorder.dirty == 0 && ctx.session.misfit.is_none() {
        let error = String::from_utf8_lossy(&ctx.reply.buf[mark..]);
        ctx.session.misfit = Some(format!("{}: {}", command.name, error.trim()));
    }
}

/// Runs one queued command, unless it is refused after all.
fn run_queued(ctx: &mut Context<'_>, found: Found, args: &[&[u8]], now_ms: i64) {
    let server = ctx.server;
    server.acl.keep_current(ctx.session);
    match gate::check_in_exec(server, ctx.session, found.command, args) {
        Ok(()) => {
            let mut started = crate::clock::Ticks::now();
            let mark = ctx.reply.len();
            run_command(ctx, found, args);
            if ctx.session.following.is_some() && ctx.reply.buf.get(mark) == Some(&b'-') {
                note_misfit(ctx, found.command, mark);
            }
            server.tracking.collect_so_far(&mut ctx.db.recorder);
            let request = crate::connection::dispatch::Request::new(found, args, now_ms);
            let written = ctx.reply.len().saturating_sub(mark);
            if output::most_bytes(server, ctx.session).is_some_and(|most| ctx.reply.len() > most) {
                output::give_up(server, ctx.session, ctx.reply, mark);
            }
            crate::clock::account_part(server, ctx.session, &request, &mut started, written);
            if let Some(stats) = slot_stats::kept(server) {
                slot_stats::note_queued(stats, &ctx.session.client, &request);
            }
            if server.monitored.load(Ordering::Relaxed) {
                crate::monitor::show(server, ctx.session, found.command, args);
            }
        }
        Err(error) => {
            let refusal = (&error, crate::acl::log::Place::Multi);
            gate::note_refusal(server, ctx.session, found.command, args, refusal);
            reply_error(server, ctx.reply, &error);
        }
    }
}

/// What a transaction did, for the log.
#[derive(Default)]
struct Effect {
    bytes: Vec<u8>,
    /// The database that it begins in.
    first_db: u32,
    /// The database that it has selected by now.
    db: u32,
    /// How many commands.
    commands: usize,
}

impl Effect {
    /// What one command did in database `index`.
    fn add(&mut self, index: u32, effects: &Effects, args: &[&[u8]]) {
        self.select(index);
        self.commands += effects.count();
        match effects.explicit() {
            Some(explicit) => self.bytes.extend_from_slice(explicit),
            None => encode(&mut self.bytes, args),
        }
    }

    /// Has what follows take effect in database `index`.
    fn select(&mut self, index: u32) {
        if self.bytes.is_empty() {
            self.first_db = index;
        } else if self.db != index {
            let mut digits = itoa::Buffer::new();
            let db = digits.format(index).as_bytes();
            encode(&mut self.bytes, &[b"SELECT", db]);
        }
        self.db = index;
    }

    /// What a command found expired goes before its own effects, and after those
    /// of the commands before: a SWAPDB among them would give the key another
    /// database.
    fn remove(&mut self, word: &[u8], expired: &[Expired]) {
        for expired in expired {
            self.select(expired.db);
            encode_expired(&mut self.bytes, word, expired);
            self.commands += 1;
        }
    }

    /// How many bytes the log's end moves by, without a SELECT in front.
    fn streamed_len(&self) -> usize {
        match self.bytes.len() {
            0 => 0,
            bytes if self.is_single() => bytes,
            bytes => bytes + encoded_len(&[b"MULTI"]) + encoded_len(&[b"EXEC"]),
        }
    }

    fn is_single(&self) -> bool {
        self.commands == 1 && self.first_db == self.db
    }

    /// Appends it to the log, in one piece.
    fn append(&self, server: &Server) {
        let Some(log) = server.own_log() else { return };
        if self.bytes.is_empty() {
        } else if self.is_single() {
            log.append(self.first_db, &self.bytes, self.db);
        } else {
            log.append_transaction(self.first_db, &self.bytes, self.db);
        }
    }
}
