//! From parsed arguments to a command's run and everything that follows from
//! it: the gate of checks before it; the log, WATCH, notifications and
//! blocked clients after it.
//!
//! Order, for one command: gate → locks → run → log (still locked, I1) →
//! broken WATCHes (still locked) → unlock → notifications → blocked clients.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::{BlockRequest, Waiter};
use super::conclusion::{after, conclude};
use super::memory::listed_bytes;
use super::session::{Queued, ReplyMode, Session};
use crate::acl::log::Place;
use crate::commands::command::{Begin, Command, Find, Locks, flag};
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::keys::each_key;
use crate::commands::table::Found;
use crate::keyspace::KeyRef;
use crate::keyspace::db::{Db, ExpiryMode};
use crate::keyspace::stripe::{Held, StripeSet};
use crate::resp::reply::ReplyBuffer;
use crate::scripting::busy::{Verdict, can_lock};
use crate::state::Server;
use crate::stats::add;

/// A command as it came in.
pub struct Request<'a> {
    /// The command and its number.
    pub found: Found,
    /// Arguments with the name.
    pub args: &'a [&'a [u8]],
    /// The bytes of the request if they are an array of bulk strings.
    pub raw: Option<&'a [u8]>,
    /// Slot and hash of its first key, if they are known already.
    pub key: Option<(u64, u16)>,
    /// When it began, Unix ms.
    pub now_ms: i64,
}

impl<'a> Request<'a> {
    /// A command that came from no client's own bytes. Its time is Unix ms.
    pub fn new(found: Found, args: &'a [&'a [u8]], now_ms: i64) -> Request<'a> {
        Request {
            found,
            args,
            raw: None,
            key: None,
            now_ms,
        }
    }
}

/// What became of a request.
pub enum Dispatched {
    /// It ran.
    Ran,
    /// It was refused, or queued in a transaction.
    NotRun,
    /// The client is blocked now, for at most so many milliseconds if that is
    /// not 0.
    Waits(Arc<Waiter>, u64),
}

/// Runs one request of a client: checks it, queues it in an open transaction
/// or runs it.
pub fn dispatch(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    request: &Request,
) -> Dispatched {
    let command = request.found.command;
    let scripting = &server.scripting;
    if (scripting.running.any() || scripting.line.any())
        && gives_way(server, session, reply, request)
    {
        return Dispatched::NotRun;
    }
    server.acl.keep_current(session);
    if session.client.any_revoked.load(Ordering::Acquire) {
        crate::commands::pubsub::forget_revoked(session);
    }
    if server.settings.maxmemory.load(Ordering::Relaxed) != 0
        && !session.replaying
        && !super::starting::is_on(server)
    {
        crate::eviction::make_room(server);
        if server.tracking.any() && session.reply_mode == ReplyMode::On {
            // Messages about keys that had to go come before the reply.
            session.client.take_outbox(&mut reply.buf);
        }
    }
    if let Err(error) = super::gate::check(server, session, command, request.args) {
        if error == CommandError::Paused {
            session.postponed = true;
            return Dispatched::NotRun;
        }
        let place = Place::of(session);
        super::gate::note_refusal(server, session, command, request.args, (&error, place));
        let error = refused_exec(server, session, command, error);
        if let Some(transaction) = &mut session.transaction {
            transaction.broken = true;
        }
        // A container with a word that is no subcommand of it is no command.
        if command.subcommands.is_empty() || request.args.len() == 1 {
            let counters = server.stats.commands_of(request.found.number());
            add(&counters.rejected, 1);
        }
        reply_error(server, reply, &error);
        session.routing.asking &= session.transaction.is_some();
        return Dispatched::NotRun;
    }
    if session.transaction.is_some() && !command.has(flag::NO_MULTI) && !runs_within_multi(command)
    {
        queue(session, reply, request);
        return Dispatched::NotRun;
    }
    let asked = session.routing.asking;
    if server.scripting.active.load(Ordering::Relaxed) != 0
        && !can_lock(server, stripes_of(command, request.args))
    {
        session.postponed = true;
        return Dispatched::NotRun;
    }
    let waiting = call(server, session, reply, request);
    if session.postponed {
        return Dispatched::NotRun;
    }
    // ASKING is for one command, or for one transaction.
    session.routing.asking &= !asked || session.transaction.is_some();
    match waiting {
        None => Dispatched::Ran,
        Some((waiter, timeout_ms)) => Dispatched::Waits(waiter, timeout_ms),
    }
}

/// Whether a request must wait for a long script, or was answered with BUSY.
#[cold]
fn gives_way(
    server: &Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    request: &Request,
) -> bool {
    let (command, running) = (request.found.command, &server.scripting.running);
    match running.verdict(server, session, command, request.args) {
        Verdict::Free => return false,
        Verdict::Wait => session.postponed = true,
        Verdict::Busy(error) => {
            let error = refused_exec(server, session, command, error);
            if let Some(transaction) = &mut session.transaction {
                transaction.broken = true;
            }
            let counters = server.stats.commands_of(request.found.number());
            add(&counters.rejected, 1);
            reply_error(server, reply, &error);
        }
    }
    true
}

/// An EXEC that is refused gives its transaction up.
fn refused_exec(
    server: &Server,
    session: &mut Session,
    command: &Command,
    error: CommandError,
) -> CommandError {
    if command.name != "exec" {
        return error;
    }
    crate::commands::transaction::abandon(server, session);
    let text = error.to_string();
    if text.starts_with("REDIRECT ") {
        return error;
    }
    let reason = text.strip_prefix("ERR ").unwrap_or(&text);
    CommandError::text(format!(
        "EXECABORT Transaction discarded because of: {reason}"
    ))
}

/// The commands that MULTI doesn't queue.
fn runs_within_multi(command: &Command) -> bool {
    matches!(
        command.name,
        "exec" | "discard" | "multi" | "watch" | "quit" | "reset"
    )
}

fn queue(session: &mut Session, reply: &mut ReplyBuffer, request: &Request) {
    if let Some(transaction) = &mut session.transaction {
        let args: Vec<Vec<u8>> = request.args.iter().map(|arg| arg.to_vec()).collect();
        let bytes = args.iter().map(|arg| listed_bytes(arg)).sum();
        let held = &session.client.held;
        held.queued.fetch_add(bytes, Ordering::Relaxed);
        transaction.queued.push(Queued {
            command: request.found.command,
            args,
        });
        session
            .client
            .queued
            .store(transaction.queued.len() as i64, Ordering::Relaxed);
    }
    reply.simple("QUEUED");
}

/// Writes an error reply and counts it by its first word.
pub fn reply_error(server: &Server, reply: &mut ReplyBuffer, error: &CommandError) {
    let text = error.to_string();
    server.stats.count_error(&text);
    reply.error(&text);
}

/// The stripes that a command's declaration and arguments ask for.
pub fn stripes_of(command: &'static Command, args: &[&[u8]]) -> StripeSet {
    let mut stripes = StripeSet::default();
    match command.locks {
        Locks::All => stripes = StripeSet::ALL,
        Locks::None => {}
        Locks::Keys => {
            each_key(command, args, |at, _| {
                stripes.add(KeyRef::new(args[at]).stripe())
            });
        }
    }
    stripes
}

/// The key of a request that has just one, if slot and hash are known.
#[inline]
fn hinted_key<'a>(request: &Request<'a>) -> Option<KeyRef<'a>> {
    let (hash, slot) = request.key?;
    let command = request.found.command;
    let [spec] = command.keys else { return None };
    let (Begin::Index(at), Find::Range { last: 0, .. }) = (spec.begin, spec.find) else {
        return None;
    };
    if command.locks != Locks::Keys {
        return None;
    }
    request
        .args
        .get(at)
        .map(|bytes| KeyRef { bytes, hash, slot })
}

/// Opens the keyspace for a session.
pub fn open_db(
    server: &'static Server,
    session: &Session,
    stripes: StripeSet,
    now_ms: i64,
) -> Db<'static> {
    let held = server.keyspace.lock(stripes);
    open_held(server, session, held, now_ms)
}

/// As [`open_db`], unless a long script has one of the stripes: it may run for
/// ever, and no worker may wait for that. What is replayed waits.
pub fn open_unless_busy(
    server: &'static Server,
    session: &Session,
    stripes: StripeSet,
    now_ms: i64,
) -> Option<Db<'static>> {
    let held = lock_unless_busy(server, stripes, session.replaying)?;
    Some(open_held(server, session, held, now_ms))
}

/// The locks alone. `waits`: however long a script has one of them.
pub fn lock_unless_busy(
    server: &'static Server,
    stripes: StripeSet,
    waits: bool,
) -> Option<Held<'static>> {
    let busy = || !waits && server.scripting.running.any();
    server.keyspace.lock_unless(stripes, busy)
}

#[inline]
fn open_held(
    server: &'static Server,
    session: &Session,
    held: Held<'static>,
    now_ms: i64,
) -> Db<'static> {
    let mut db = Db::holding(&server.keyspace, held, session.db, now_ms);
    let touches = !session.client.no_touch.load(Ordering::Relaxed);
    db.birth = Some(server.settings.stamp(now_ms));
    db.access = db.birth.filter(|_| touches);
    db.recorder.observed = is_observed_in(server, session);
    db.expiry_mode = expiry_mode(server, session, now_ms, false);
    db
}

/// Whether anybody wants to know what a session changes. Who watches, blocks or
/// reads a key does so under the lock of its stripe: a no holds for the stripes
/// that are locked by now, and for no others.
#[inline]
pub fn is_observed_in(server: &Server, session: &Session) -> bool {
    session.is_heard() && is_observed(server)
}

/// What becomes of keys that a session finds expired at `now_ms` (Unix ms).
/// `writes`: no pause holds it up any more.
#[inline]
pub fn expiry_mode(server: &Server, session: &Session, now_ms: i64, writes: bool) -> ExpiryMode {
    if session.replaying || session.routing.importing {
        return ExpiryMode::Ignore;
    }
    let is_paused = !writes && super::pause::is_on(server, now_ms);
    match is_paused || server.replication.is_replica() {
        // Nothing changes during CLIENT PAUSE, not by expiry either; and what
        // a replica has is removed when its primary says so.
        true => ExpiryMode::Hide,
        false => ExpiryMode::Remove,
    }
}

/// Whether anybody wants to know what changes.
#[inline]
pub(super) fn is_observed(server: &Server) -> bool {
    server.settings.notify.load(Ordering::Relaxed) != 0
        || server.watches.any()
        || server.blocked.clients() != 0
        || server.tracking.any()
}

/// Runs a command that passed the gate.
pub fn call(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    request: &Request,
) -> Option<(Arc<Waiter>, u64)> {
    let command = request.found.command;
    let hint = hinted_key(request);
    let stripes = match &hint {
        Some(key) => StripeSet::one(key.stripe()),
        None => stripes_of(command, request.args),
    };
    let prepared = command.prepare.and_then(|make| make(request.args));
    let Some(mut db) = open_unless_busy(server, session, stripes, request.now_ms) else {
        session.postponed = true;
        return None;
    };
    if let Some(key) = &hint {
        db.hint(key);
    }
    if session.is_outdated(server) {
        return None;
    }
    if session.passed_long_ago(server) {
        session.postponed = true;
        return None;
    }
    let mut ctx = Context {
        server,
        session,
        db,
        reply,
        effects: Effects::default(),
        in_transaction: false,
        holds_all: command.locks == Locks::All,
        prepared,
        block: None,
    };
    let failed = match server.cluster.is_some() {
        true => run_here(&mut ctx, request.found, request.args),
        false => run(&mut ctx, request.found, request.args),
    };
    let waiting = ctx
        .block
        .take()
        .map(|block| begin_wait(&mut ctx, request, block));
    let Context {
        db,
        effects,
        session,
        ..
    } = ctx;
    let recorder = conclude(server, session, db, &effects, failed, request);
    after(server, session, recorder);
    waiting
}

/// Has the client wait, as its command asked; gives the timeout too.
fn begin_wait(
    ctx: &mut Context<'_>,
    request: &Request,
    mut block: BlockRequest,
) -> (Arc<Waiter>, u64) {
    let (server, command) = (ctx.server, request.found.command);
    let timeout_ms = block.timeout_ms;
    let args = match block.args.take() {
        Some(args) => args,
        None => request.args.iter().map(|arg| arg.to_vec()).collect(),
    };
    let client = ctx.session.client.clone();
    let silent = matches!(ctx.session.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    let waiter = Waiter::new(client, ctx.session.db, command, args, block, silent);
    server.blocked.add(&waiter);
    if waiter.on_timeout.acks().is_some() {
        server.replication.replicas.await_acks(waiter.clone());
        server.replication.log_bell.ring();
    }
    *ctx.session.client.waiter.lock() = Some(waiter.clone());
    if let Some(script) = ctx.session.detached.take() {
        script.go_on(waiter.clone());
    }
    (waiter, timeout_ms)
}

/// Runs a command of a node of a cluster, if its keys are still this node's
/// now that they are locked.
#[cold]
fn run_here(ctx: &mut Context, found: Found, args: &[&[u8]]) -> bool {
    let (server, command) = (ctx.server, found.command);
    let here = crate::cluster::route::check(server, ctx.session, command, args, Some(&mut ctx.db));
    match here {
        Ok(()) => run(ctx, found, args),
        Err(CommandError::Paused) => {
            ctx.session.postponed = true;
            true
        }
        Err(error) => {
            reply_error(server, ctx.reply, &error);
            add(&server.stats.commands_of(found.number()).rejected, 1);
            true
        }
    }
}

/// Runs a command's function; on an error the reply is replaced by it.
/// Returns whether it failed.
pub fn run(ctx: &mut Context, found: Found, args: &[&[u8]]) -> bool {
    let mark = ctx.reply.len();
    let ready = match found.command.has(flag::WRITE) {
        true => ready_to_write(ctx, found.command, args),
        false => Ok(()),
    };
    let result = ready.and_then(|()| (found.command.run)(ctx, args));
    if ctx.server.tracking.any() {
        let (server, client) = (ctx.server, &ctx.session.client);
        server
            .tracking
            .remember(server, client, found.command, args);
    }
    match result {
        Ok(()) => false,
        Err(CommandError::Paused) => {
            ctx.reply.truncate(mark);
            ctx.session.postponed = true;
            true
        }
        Err(error) => {
            ctx.reply.truncate(mark);
            reply_error(ctx.server, ctx.reply, &error);
            add(&ctx.server.stats.commands_of(found.number()).failed, 1);
            true
        }
    }
}

#[inline]
fn ready_to_write(ctx: &mut Context, command: &'static Command, args: &[&[u8]]) -> CommandResult {
    if !ctx.session.replaying && !ctx.in_transaction {
        super::gate::read_only(ctx.server, ctx.session, command, args)?;
    }
    match ctx.server.keyspace.is_warming() {
        true => warm_keys(ctx, command, args),
        false => Ok(()),
    }
}

/// Brings a command's cold keys into RAM before it changes anything, so that a
/// tree that can't be read doesn't stop it half way.
#[cold]
fn warm_keys(ctx: &mut Context, command: &'static Command, args: &[&[u8]]) -> CommandResult {
    let mut result = Ok(());
    if command.locks == Locks::Keys {
        each_key(command, args, |at, _| {
            if result.is_ok() {
                result = ctx.db.exists(args[at]).map(|_| ());
            }
        });
    }
    Ok(result?)
}
