//! From the query buffer to replies: requests are parsed, looked up and
//! hashed in batches, and what they will touch is fetched into the
//! processor's caches ahead of their run, in three passes:
//!
//! 1. parse, find the command, hash the first key, prefetch its bucket;
//! 2. prefetch the entry;
//! 3. run, in order.
//!
//! With 64 requests in a pipeline the misses of one hide behind the others.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::Waiter;
use super::dispatch::{Request, dispatch, reply_error};
use super::session::{ReplyMode, Session};
use crate::commands::command::{Begin, flag};
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::keyspace::KeyRef;
use crate::resp::reply::ReplyBuffer;
use crate::resp::request::{Parsed, ProtocolError, RequestLimits, RequestParser};
use crate::state::{Server, unix_ms};
use crate::stats::add;

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

/// The parser's state and the batch's storage, kept between reads.
#[derive(Default)]
pub struct Pipeline {
    parser: RequestParser,
    ranges: Vec<Range<usize>>,
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
        loop {
            let parsed = self.parse_batch(server, session, input, *start);
            let now_ms = unix_ms();
            self.prefetch_entries(server, session, input);
            let mut consumed_to = *start;
            for index in 0..self.slots.len() {
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
                let waiting = run_one(server, session, reply, slot.found, &args, raw, now_ms);
                drop(args);
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
                let pausing = server.pause_until_ms.load(Ordering::Relaxed) > now_ms;
                if reply.len() > REPLY_SOFT_BYTES || pausing {
                    *start = consumed_to;
                    self.give_up_parsed(index + 1);
                    return Stop::HasMore;
                }
            }
            let _ = consumed_to;
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
        while self.slots.len() < BATCH {
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
        let words = &self.ranges[args.clone()];
        let head: smallvec::SmallVec<[&[u8]; 2]> = words
            .iter()
            .take(2)
            .map(|range| &input[range.clone()])
            .collect();
        let found = table().find(&head);
        let mut key = None;
        if let Some(found) = found
            && let Some(spec) = found.command.keys.first()
            && let Begin::Index(at) = spec.begin
            && let Some(range) = words.get(at)
        {
            let key_ref = KeyRef::new(&input[range.clone()]);
            server.keyspace.prefetch_bucket(session.db, &key_ref);
            key = Some((key_ref.hash, key_ref.slot));
        }
        self.slots.push(Slot {
            args,
            bytes,
            found,
            key,
        });
    }

    fn prefetch_entries(&self, server: &Server, session: &Session, input: &[u8]) {
        if self.slots.len() < 2 {
            return;
        }
        for slot in &self.slots {
            if let Some((hash, number)) = slot.key {
                let bytes = &input[0..0];
                let key = KeyRef {
                    bytes,
                    hash,
                    slot: number,
                };
                server.keyspace.prefetch_entry(session.db, &key);
            }
        }
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

/// Runs one request with everything around it: MONITOR, CLIENT REPLY, timing.
fn run_one(
    server: &'static Server,
    session: &mut Session,
    reply: &mut ReplyBuffer,
    found: Option<Found>,
    args: &[&[u8]],
    raw: Option<&[u8]>,
    now_ms: i64,
) -> Option<(Arc<Waiter>, u64)> {
    let mark = reply.len();
    let found = found.or_else(|| table().find(args));
    let waiting = match found {
        None => {
            if let Some(transaction) = &mut session.transaction {
                transaction.broken = true;
            }
            reply_error(server, reply, &unknown_command(session, args));
            None
        }
        Some(found) => {
            let started = crate::clock::Ticks::now();
            let request = Request {
                found,
                args,
                raw,
                now_ms,
            };
            if server.monitored.load(Ordering::Relaxed) && !found.command.has(flag::SKIP_MONITOR) {
                crate::monitor::show(server, session, args);
            }
            session.client.active_ms.store(now_ms, Ordering::Relaxed);
            let waiting = dispatch(server, session, reply, &request);
            let written = reply.len().saturating_sub(mark);
            crate::clock::account(server, session, &request, started, written);
            waiting
        }
    };
    add(&server.stats.processed, 1);
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

fn unknown_command(session: &Session, args: &[&[u8]]) -> CommandError {
    if !session.authenticated {
        return CommandError::text("NOAUTH Authentication required.");
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
