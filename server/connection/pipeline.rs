//! From the query buffer to replies: requests are parsed, looked up and
//! hashed in batches, and what they will touch is fetched into the
//! processor's caches ahead of their run, in four passes:
//!
//! 1. parse, find the command, hash the first key, prefetch its table's head;
//! 2. prefetch the bucket;
//! 3. prefetch the entry;
//! 4. run, in order.
//!
//! With 64 requests in a pipeline the misses of one hide behind the others.

mod direct;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::Waiter;
use super::dispatch::{Dispatched, Request, dispatch, reply_error};
use super::session::{ReplyMode, Session};
use super::{gate, pause};
use crate::clock::{Limits, Ticks};
use crate::cold_reads;
use crate::commands::command::Begin;
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::keyspace::KeyRef;
use crate::keyspace::table::same_bytes;
use crate::resp::reply::ReplyBuffer;
use crate::resp::request::{Parsed, ProtocolError, RequestLimits, RequestParser};
use crate::state::{Server, unix_ms};

/// Requests of one batch.
const BATCH: usize = 64;
/// A batch ends early when the replies grow beyond this.
const REPLY_SOFT_BYTES: usize = 1 << 20;

/// What stopped the work on a query buffer.
pub enum Stop {
    /// Everything whole was run; at least this many bytes are needed next.
    NeedsInput(usize),
    /// There is more to run; write the replies first.
    HasMore,
    /// The next request has to wait for the end of CLIENT PAUSE.
    Paused,
    /// The next request waits for values that are in the tree.
    Cold(tokio::sync::oneshot::Receiver<()>),
    /// The client waits; nothing of it runs until then. With its timeout.
    Blocked(Arc<Waiter>, u64),
    /// The connection is to be closed after the replies.
    Close,
}

/// One parsed request of a batch.
struct Slot {
    args: Range<usize>,
    bytes: Range<usize>,
    found: Option<Found>,
    key: Option<(u64, u16)>,
}

impl Slot {
    /// Whether it may take the short way.
    fn is_direct(&self) -> bool {
        self.key.is_some() && self.found.is_some_and(|found| found.single_key)
    }
}

/// The parser's state and the batch's storage, kept between reads.
#[derive(Default)]
pub struct Pipeline {
    parser: RequestParser,
    ranges: Vec<Range<usize>>,
    /// The name looked up last, and what it is: pipelines repeat themselves.
    last: Option<(Vec<u8>, Found)>,
    /// Arguments of the request that has not arrived whole.
    unfinished: Vec<Range<usize>>,
    slots: Vec<Slot>,
}

impl Pipeline {
    /// Runs what is in `input` from `*start` on, moving it along.
    pub fn run(
        &mut self,
        server: &'static Server,
        session: &mut Session,
        input: &[u8],
        start: &mut usize,
        reply: &mut ReplyBuffer,
    ) -> Stop {
        let stop = self.run_batches(server, session, input, start, reply);
        session.client.active_ms.store(unix_ms(), Ordering::Relaxed);
        session.tally.flush(&server.stats);
        stop
    }

    fn run_batches(
        &mut self,
        server: &'static Server,
        session: &mut Session,
        input: &[u8],
        start: &mut usize,
        reply: &mut ReplyBuffer,
    ) -> Stop {
        loop {
            let parsed = self.parse_batch(server, session, input, *start);
            let now_ms = unix_ms();
            self.prefetch(server, session);
            let mut consumed_to = *start;
            let mut clock = Ticks::now();
            let limits = Limits::of(server);
            let mut index = 0;
            while index < self.slots.len() {
                // What is open changes with each command that goes the long way.
                let open = match self.slots[index].is_direct() {
                    true => direct::open(server, session),
                    false => gate::Open::Nothing,
                };
                if open != gate::Open::Nothing {
                    let batch = direct::Batch {
                        input,
                        now_ms,
                        open,
                        limits,
                    };
                    let next = self.run_direct(server, session, reply, index, batch, &mut clock);
                    if next != index {
                        consumed_to = self.slots[next - 1].bytes.end;
                        index = next;
                        if reply.len() > REPLY_SOFT_BYTES {
                            *start = consumed_to;
                            self.give_up_parsed(index);
                            return Stop::HasMore;
                        }
                        continue;
                    }
                }
                let slot = &self.slots[index];
                let (bytes, inline) = (slot.bytes.clone(), slot.bytes.is_empty());
                let source = if inline {
                    self.parser.inline_bytes()
                } else {
                    input
                };
                let args: smallvec::SmallVec<[&[u8]; 16]> = self.ranges[slot.args.clone()]
                    .iter()
                    .map(|r| &source[r.clone()])
                    .collect();
                let raw = (!inline).then(|| &input[bytes.clone()]);
                let found = slot.found.or_else(|| table().find(&args));
                if let Some(stop) = held_back(server, session, found, &args, now_ms) {
                    drop(args);
                    *start = consumed_to;
                    self.give_up_parsed(index);
                    return stop;
                }
                let asked = Asked {
                    found,
                    args: &args,
                    raw,
                    key: slot.key,
                    now_ms,
                };
                let waiting = run_one(server, session, reply, &asked, &mut clock);
                drop(args);
                if std::mem::take(&mut session.postponed) {
                    *start = consumed_to;
                    self.give_up_parsed(index);
                    return Stop::Paused;
                }
                consumed_to = if inline { parsed.end } else { bytes.end };
                if let Some((waiter, timeout_ms)) = waiting {
                    *start = consumed_to;
                    self.give_up_parsed(index + 1);
                    return Stop::Blocked(waiter, timeout_ms);
                }
                if session.close_after_reply {
                    *start = consumed_to;
                    return Stop::Close;
                }
                index += 1;
                if reply.len() > REPLY_SOFT_BYTES {
                    *start = consumed_to;
                    self.give_up_parsed(index);
                    return Stop::HasMore;
                }
            }
            *start = parsed.end;
            match parsed.outcome {
                Outcome::Full => continue,
                Outcome::NeedsInput(bytes) => return Stop::NeedsInput(bytes),
                Outcome::Broken(error) => {
                    reply_error(server, reply, &CommandError::err(error));
                    return Stop::Close;
                }
            }
        }
    }

    /// Requests that were parsed but not run are parsed again later: the
    /// parser forgets the one it is in the middle of.
    fn give_up_parsed(&mut self, from: usize) {
        if from < self.slots.len() || self.parser.is_mid_command() {
            self.parser = RequestParser::new();
            self.unfinished.clear();
        }
    }

    fn parse_batch(
        &mut self,
        server: &Server,
        session: &Session,
        input: &[u8],
        start: usize,
    ) -> Batch {
        self.ranges.clear();
        self.ranges.append(&mut self.unfinished);
        let mut resumed = true;
        self.slots.clear();
        let limits = RequestLimits {
            max_bulk_bytes: server.settings.proto_max_bulk_len.load(Ordering::Relaxed),
            authenticated: session.authenticated,
        };
        let mut at = start;
        // A login changes what may be sent behind it.
        let most = if session.authenticated { BATCH } else { 1 };
        while self.slots.len() < most {
            let first = if std::mem::take(&mut resumed) {
                0
            } else {
                self.ranges.len()
            };
            match self.parser.next(&input[at..], &limits, &mut self.ranges) {
                Ok(Parsed::Complete { consumed }) => {
                    self.ranges[first..].iter_mut().for_each(|range| {
                        *range = range.start + at..range.end + at;
                    });
                    let args = first..self.ranges.len();
                    self.add_slot(server, session, input, args, at..at + consumed);
                    at += consumed;
                }
                Ok(Parsed::Inline { consumed }) => {
                    // Its arguments live in the parser until the next call, so
                    // the batch ends here.
                    let args = first..self.ranges.len();
                    let slot = Slot {
                        args,
                        bytes: 0..0,
                        found: None,
                        key: None,
                    };
                    self.slots.push(slot);
                    at += consumed;
                    return Batch {
                        end: at,
                        outcome: Outcome::Full,
                    };
                }
                Ok(Parsed::Empty { consumed }) => at += consumed,
                Ok(Parsed::Incomplete { needed_at_least }) => {
                    self.unfinished = self.ranges.split_off(first);
                    let outcome = Outcome::NeedsInput(needed_at_least);
                    return Batch { end: at, outcome };
                }
                Err(error) => {
                    return Batch {
                        end: at,
                        outcome: Outcome::Broken(error),
                    };
                }
            }
        }
        Batch {
            end: at,
            outcome: Outcome::Full,
        }
    }

    #[inline]
    fn add_slot(
        &mut self,
        server: &Server,
        session: &Session,
        input: &[u8],
        args: Range<usize>,
        bytes: Range<usize>,
    ) {
        let found = self.find(args.clone(), input);
        let words = &self.ranges[args.clone()];
        let mut key = None;
        if let Some(found) = found
            && let Some(spec) = found.command.keys.first()
            && let Begin::Index(at) = spec.begin
            && let Some(range) = words.get(at)
        {
            let key_ref = KeyRef::new(&input[range.clone()]);
            server.keyspace.prefetch_table(session.db, key_ref.slot);
            key = Some((key_ref.hash, key_ref.slot));
        }
        self.slots.push(Slot {
            args,
            bytes,
            found,
            key,
        });
    }

    #[inline]
    fn find(&mut self, args: Range<usize>, input: &[u8]) -> Option<Found> {
        let name = &input[self.ranges[args.start].clone()];
        if let Some((last, found)) = &self.last
            && same_bytes(last, name)
        {
            return Some(*found);
        }
        let words = &self.ranges[args];
        let head: smallvec::SmallVec<[&[u8]; 2]> = words
            .iter()
            .take(2)
            .map(|range| &input[range.clone()])
            .collect();
        let found = table().find(&head)?;
        if !found.command.name.contains('|') && found.command.subcommands.is_empty() {
            self.last = Some((name.to_vec(), found));
        }
        Some(found)
    }

    fn prefetch(&self, server: &Server, session: &Session) {
        if self.slots.len() < 2 {
            return;
        }
        for slot in &self.slots {
            if let Some((hash, number)) = slot.key {
                server.keyspace.prefetch_bucket(session.db, number, hash);
            }
        }
        for slot in &self.slots {
            if let Some((hash, number)) = slot.key {
                server.keyspace.prefetch_entry(session.db, number, hash);
            }
        }
    }
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

struct Batch {
    end: usize,
    outcome: Outcome,
}

enum Outcome {
    Full,
    NeedsInput(usize),
    Broken(ProtocolError),
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
            session
                .client
                .last_command
                .store(found.number as u32 + 1, Ordering::Relaxed);
            if server.monitored.load(Ordering::Relaxed) {
                monitored(server, session, reply, &request)
            } else {
                let outcome = dispatch(server, session, reply, &request);
                let written = reply.len().saturating_sub(mark);
                settle(server, session, &request, outcome, clock, written)
            }
        }
    };
    if waiting.is_none() {
        session.client.count_command();
    }
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => reply.truncate(mark),
        ReplyMode::SkipNext => session.reply_mode = ReplyMode::Skip,
        ReplyMode::Skip => {
            reply.truncate(mark);
            session.reply_mode = ReplyMode::On;
        }
    }
    waiting
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
    let (command, db) = (request.found.command, session.db);
    let runs = gate::check(server, session, command, request.args).is_ok();
    let mut started = Ticks::now();
    let mark = reply.len();
    let outcome = dispatch(server, session, reply, request);
    let written = reply.len().saturating_sub(mark);
    let waiting = settle(server, session, request, outcome, &mut started, written);
    let queued = session.transaction.is_some() && command.name != "multi";
    if runs && !queued {
        crate::monitor::show(server, session, command, db, request.args);
    }
    waiting
}

fn unknown_command(server: &Server, session: &Session, args: &[&[u8]]) -> CommandError {
    if !session.authenticated && gate::password_needed(server) {
        return CommandError::text(gate::NOT_LOGGED_IN);
    }
    let name = String::from_utf8_lossy(&args[0][..args[0].len().min(128)]).into_owned();
    let mut shown = String::new();
    for arg in &args[1..] {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        let arg = String::from_utf8_lossy(&arg[..arg.len().min(room)]).into_owned();
        shown.push_str(&format!("'{arg}' "));
    }
    CommandError::err(format!(
        "unknown command '{name}', with args beginning with: {shown}"
    ))
}
