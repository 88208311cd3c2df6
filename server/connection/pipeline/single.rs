//! The long way: one request with everything that may happen around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Pipeline, Stop, Turn};
use crate::clock::Ticks;
use crate::cold_reads;
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::connection::blocking::Waiter;
use crate::connection::dispatch::{Dispatched, Request, dispatch, reply_error};
use crate::connection::session::{ReplyMode, Session};
use crate::connection::{gate, pause};
use crate::resp::reply::ReplyBuffer;
use crate::scripting::busy::put_off;
use crate::state::Server;
use crate::tracking::client::mode;

impl Pipeline {
    /// Runs the turn's next request; what it returns stops the batch.
    pub(super) fn run_single(
        &self,
        server: &'static Server,
        session: &mut Session,
        reply: &mut ReplyBuffer,
        turn: &mut Turn<'_>,
    ) -> Option<Stop> {
        let slot = &self.slots[turn.next];
        if slot.args.is_empty() && !slot.bytes.is_empty() {
            turn.next += 1;
            turn.consumed_to = slot.bytes.end;
            end_skipping(session);
            return None;
        }
        let (bytes, unquoted) = (slot.bytes.clone(), slot.bytes.is_empty());
        let source = match unquoted {
            true => self.parser.inline_bytes(),
            false => &turn.input[bytes.clone()],
        };
        let mut args: smallvec::SmallVec<[&[u8]; 16]> = self.ranges[slot.args.clone()]
            .iter()
            .map(|range| &source[range.clone()])
            .collect();
        let found = slot.found.or_else(|| table().find_called(&args));
        let renamed = found.filter(|found| found.renamed);
        if let Some(found) = renamed {
            args[0] = found.declared_name();
        }
        if found.is_none() && is_cross_protocol(args[0]) {
            warn_of_cross_protocol(session, turn.now_ms);
            return Some(Stop::Close);
        }
        session.gate_version = Some(server.gate_version.load(Ordering::Acquire));
        if let Some(stop) = held_back(server, session, found, &args, turn.now_ms) {
            session.put_off = None;
            return Some(stop);
        }
        let asked = Asked {
            found,
            args: &args,
            raw: (slot.is_array && renamed.is_none()).then_some(source),
            key: slot.key,
            now_ms: turn.now_ms,
        };
        let waiting = run_one(server, session, reply, &asked, &mut turn.clock);
        if std::mem::take(&mut session.postponed) {
            if let Some(found) = found {
                put_off(server, session, found.command, &args);
            }
            return Some(Stop::PutOff);
        }
        session.put_off = None;
        turn.next += 1;
        turn.consumed_to = if unquoted { turn.parsed_to } else { bytes.end };
        if let Some((waiter, timeout_ms)) = waiting {
            return Some(Stop::Blocked(waiter, timeout_ms));
        }
        if session.order.is_some() && !session.close_after_reply {
            // What comes next is to see what that brings about.
            return Some(Stop::HasMore);
        }
        session.close_after_reply.then_some(Stop::Close)
    }
}

/// Whether a request is the beginning of one to a web server: what follows it
/// are lines of somebody else's choice, which a browser was made to send, and
/// none of them may run. `POST` is how it begins; if that line was too long to
/// be read as a command, `Host:` is soon behind it.
fn is_cross_protocol(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Tells of it in the log, once a minute at most.
#[cold]
fn warn_of_cross_protocol(session: &Session, now_ms: i64) {
    static LAST_MS: AtomicI64 = AtomicI64::new(i64::MIN);
    let last_ms = LAST_MS.load(Ordering::Relaxed);
    if now_ms.saturating_sub(last_ms) < 60_000 {
        return;
    }
    LAST_MS.store(now_ms, Ordering::Relaxed);
    tracing::warn!(
        "Possible SECURITY ATTACK detected: POST or Host: came as a command, so a web browser \
         may be used to reach this server. The connection from {} is closed.",
        session.client.address
    );
}

/// What a request has to wait for before it can run, if anything.
#[inline]
fn held_back(
    server: &'static Server,
    session: &mut Session,
    found: Option<Found>,
    args: &[&[u8]],
    now_ms: i64,
) -> Option<Stop> {
    if pause::is_on(server, now_ms) && pause::holds(server, session, found, args) {
        return Some(Stop::Paused);
    }
    match found {
        Some(found) if server.keyspace.has_spilled() => {
            cold_reads::wanted(server, session, found.command, args).map(Stop::Cold)
        }
        _ => None,
    }
}

/// A request of a batch, about to run.
struct Asked<'a> {
    found: Option<Found>,
    args: &'a [&'a [u8]],
    raw: Option<&'a [u8]>,
    key: Option<(u64, u16)>,
    now_ms: i64,
}

/// Runs one request with everything around it: MONITOR, CLIENT REPLY, timing.
/// `clock` is when the request before it ended.
fn run_one(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    asked: &Asked<'_>,
    clock: &mut Ticks,
) -> Option<(Arc<Waiter>, u64)> {
    // What was pushed before this command comes before its reply.
    session.client.take_outbox(&mut reply.buf);
    let mark = reply.len();
    let waiting = match asked.found {
        None => {
            if let Some(transaction) = &mut session.transaction {
                transaction.broken = true;
            }
            session.client.last_command.store(0, Ordering::Relaxed);
            reply_error(server, reply, &unknown_command(server, session, asked.args));
            None
        }
        Some(found) => {
            let request = Request {
                found,
                args: asked.args,
                raw: asked.raw,
                key: asked.key,
                now_ms: asked.now_ms,
            };
            // A container with a word that is no subcommand of it is no command.
            let known = found.command.subcommands.is_empty() || asked.args.len() == 1;
            let number = if known { found.number() as u32 + 1 } else { 0 };
            session.client.last_command.store(number, Ordering::Relaxed);
            if server.monitored.load(Ordering::Relaxed) {
                monitored(server, session, reply, &request)
            } else {
                let outcome = dispatch(server, session, reply, &request);
                let written = reply.len().saturating_sub(mark);
                settle(server, session, &request, outcome, clock, written)
            }
        }
    };
    list_transaction(session);
    if session.postponed {
        return None;
    }
    if server.tracking.any() {
        end_caching(session, asked.found);
    }
    if waiting.is_none() {
        session.client.count_command();
    }
    if matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip) {
        reply.truncate(mark);
    }
    end_skipping(session);
    waiting
}

/// CLIENT REPLY SKIP is for the next request only, were it an empty one.
#[inline]
fn end_skipping(session: &mut Session) {
    session.reply_mode = match session.reply_mode {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        ReplyMode::On | ReplyMode::Off => session.reply_mode,
    };
}

/// CLIENT CACHING is for one command only, or one transaction, whatever becomes
/// of it.
#[cold]
fn end_caching(session: &Session, found: Option<Found>) {
    let keeps =
        |found: Found| matches!(found.command.name, "client|caching" | "client|trackinginfo");
    if session.transaction.is_none() && !found.is_some_and(keeps) {
        session.client.tracking.remove(mode::CACHING);
    }
}

/// Notes how many commands CLIENT LIST shows in MULTI: none of a transaction
/// that is broken, no more once a watched key has changed, and -1 until the
/// first MULTI or WATCH.
#[inline]
fn list_transaction(session: &Session) {
    let listed = &session.client.listed;
    let count = match &session.transaction {
        Some(open) if !open.broken && session.client.watch_broken.load(Ordering::Relaxed) => return,
        Some(open) if !open.broken => open.queued.len() as i64,
        None if session.watched.is_empty() && listed.load(Ordering::Relaxed) <= 0 => return,
        _ => 0,
    };
    listed.store(count, Ordering::Relaxed);
}

/// Counts a request if it ran; one that waits counts when it is answered.
#[inline]
fn settle(
    server: &Server,
    session: &mut Session,
    request: &Request,
    outcome: Dispatched,
    clock: &mut Ticks,
    written: usize,
) -> Option<(Arc<Waiter>, u64)> {
    if let Dispatched::Ran = outcome {
        crate::clock::account(server, session, request, clock, written);
        return None;
    }
    *clock = Ticks::now();
    match outcome {
        Dispatched::Waits(waiter, timeout_ms) => Some((waiter, timeout_ms)),
        _ => None,
    }
}

/// Runs a request while somebody monitors; it is shown once it has run, so
/// that EXEC comes behind what it runs. What is only queued is not shown.
#[cold]
fn monitored(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    request: &Request,
) -> Option<(Arc<Waiter>, u64)> {
    let command = request.found.command;
    let runs = gate::check(server, session, command, request.args).is_ok();
    let mut started = Ticks::now();
    let mark = reply.len();
    let outcome = dispatch(server, session, reply, request);
    let written = reply.len().saturating_sub(mark);
    let waiting = settle(server, session, request, outcome, &mut started, written);
    let queued = session.transaction.is_some() && command.name != "multi";
    if runs && !queued && !session.postponed {
        crate::monitor::show(server, session, command, request.args);
    }
    waiting
}

fn unknown_command(server: &Server, session: &Session, args: &[&[u8]]) -> CommandError {
    if !session.authenticated && gate::password_needed(server) {
        return CommandError::text(gate::NOT_LOGGED_IN);
    }
    let name = String::from_utf8_lossy(&args[0][..args[0].len().min(128)]).into_owned();
    let mut shown = String::new();
    let mut room = 128_usize;
    for arg in &args[1..] {
        if room == 0 {
            break;
        }
        let part = &arg[..arg.len().min(room)];
        shown.push_str(&format!("'{}' ", String::from_utf8_lossy(part)));
        room = room.saturating_sub(part.len() + 3);
    }
    CommandError::err(format!(
        "unknown command '{name}', with args beginning with: {shown}"
    ))
}
