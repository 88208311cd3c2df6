//! From the query buffer to replies: requests are parsed, looked up and
//! hashed in batches, and what they will touch is fetched into the
//! processor's caches ahead of their run, in four passes:
//!
//! 1. parse, find the command, hash the first key, prefetch its table's head;
//! 2. prefetch the bucket; where several connections run in one round, all of
//!    them come so far first;
//! 3. prefetch the entries, a few requests at a time;
//! 4. run those that come before these, in order; and again from 3.
//!
//! With 64 requests in a pipeline the misses of one hide behind the others.
//! Where a few come from each of many connections, those of one hide behind
//! the others' (`ahead.rs`).

mod ahead;
mod direct;
mod gets;
mod parse;
mod single;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::Waiter;
use super::dispatch::reply_error;
use super::gate;
use super::session::{ReplyMode, Session};
use parse::{Batch, Outcome};

use crate::clock::{Limits, Ticks, unix_ms_at};
use crate::commands::error::CommandError;
use crate::commands::table::{Found, Way};
use crate::resp::reply::ReplyBuffer;
use crate::resp::request::RequestParser;
use crate::state::Server;

/// Requests of one batch.
const BATCH: usize = 64;
/// Entries of so many requests are fetched at a time, before those that were
/// fetched last run: a processor has about twice as many lines under way, and
/// stands still for more.
const FETCHED_AT_ONCE: usize = 8;
/// So many requests hide their misses behind each other.
const MIN_BATCH: usize = 4;
/// Room for so many arguments is kept: 64 for each request of a batch.
const KEPT_ARGS: usize = 64 * BATCH;
/// A batch ends early when the replies grow beyond this.
const REPLY_SOFT_BYTES: usize = 1 << 20;

/// What stopped the work on a query buffer.
pub enum Stop {
    /// Everything whole was run; at least this many bytes are needed next.
    NeedsInput(usize),
    /// There is more to run; write the replies first.
    HasMore,
    /// The next request has to wait for the end of a pause.
    Paused,
    /// The next request could not run now, for another reason: what it needs is
    /// in use, or has changed. It is tried again soon.
    PutOff,
    /// The next request waits for values that are in the tree.
    Cold(tokio::sync::oneshot::Receiver<()>),
    /// The client waits; nothing of it runs until then. With its timeout.
    Blocked(Arc<Waiter>, u64),
    /// The connection is to be closed after the replies.
    Close,
}

/// One parsed request of a batch.
struct Slot {
    /// Which of the pipeline's ranges are its arguments; they count from the
    /// request's first byte. None if it is an empty line or array.
    args: Range<usize>,
    /// Where it lies in the query buffer; empty if it is an inline command
    /// with quotes, whose words are in the parser.
    bytes: Range<usize>,
    /// Whether that is an array of bulk strings.
    is_array: bool,
    found: Option<Found>,
    key: Option<(u64, u16)>,
}

impl Slot {
    /// A request of which nothing was looked up.
    fn bare(args: Range<usize>, bytes: Range<usize>) -> Slot {
        Slot {
            args,
            bytes,
            is_array: false,
            found: None,
            key: None,
        }
    }

    /// Whether it may take the short way.
    fn is_direct(&self) -> bool {
        self.found.is_some_and(|found| match found.way {
            Way::OneKey => self.key.is_some(),
            Way::NoKey => true,
            Way::Long => false,
        })
    }
}

/// The parser's state and the batch's storage, kept between reads.
#[derive(Default)]
pub struct Pipeline {
    parser: RequestParser,
    ranges: Vec<Range<usize>>,
    last: Option<parse::Last>,
    /// Arguments of the request that has not arrived whole.
    unfinished: Vec<Range<usize>>,
    slots: Vec<Slot>,
    /// What [`Pipeline::look_ahead`] has parsed.
    ahead: Option<Batch>,
}

impl Pipeline {
    /// Gives back what requests with very many arguments took; nothing of the
    /// last batch is left to run.
    pub fn shrink_large(&mut self) {
        if self.ranges.capacity() > KEPT_ARGS {
            self.ranges = Vec::new();
        }
        if self.unfinished.capacity() > KEPT_ARGS && self.unfinished.is_empty() {
            self.unfinished = Vec::new();
        }
    }

    /// Bytes of a request that has not arrived whole, as far as its arguments have.
    pub fn unfinished_bytes(&self) -> usize {
        self.unfinished.last().map_or(0, |argument| argument.end)
    }

    /// Gives back all that is not in use, between two batches.
    pub fn shrink(&mut self) {
        self.ranges = Vec::new();
        self.slots = Vec::new();
        self.unfinished.shrink_to_fit();
    }

    /// Parses the first batch of what [`Pipeline::run`] will be given next, and
    /// has what it will touch fetched. True if it is worth the wait until other
    /// connections have done the same. The session may not change in between.
    pub fn look_ahead(
        &mut self,
        server: &Server,
        session: &Session,
        input: &[u8],
        start: usize,
    ) -> bool {
        self.ahead = Some(self.parse_batch(server, session, input, start));
        if self.slots.len() >= MIN_BATCH {
            // It hides its own misses; but to run nothing before all has been
            // parsed is 5 % of a SET at P=16.
            self.prefetch_buckets(server, session);
            return true;
        }
        let keys = self.slots.iter().filter_map(|slot| slot.key);
        keys.fold(false, |worth, (hash, slot)| {
            ahead::add(server, (session.db, slot, hash)) || worth
        })
    }

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
            let parsed = match self.ahead.take() {
                Some(parsed) => {
                    ahead::finish(server);
                    parsed
                }
                None => {
                    let parsed = self.parse_batch(server, session, input, *start);
                    self.prefetch_buckets(server, session);
                    parsed
                }
            };
            if session.client.killed.load(Ordering::Acquire) {
                self.give_up_parsed(0);
                return Stop::Close;
            }
            let clock = Ticks::now();
            let mut turn = Turn {
                input,
                parsed_to: parsed.end,
                now_ms: unix_ms_at(clock),
                limits: Limits::of(server),
                clock,
                gate_version: 0,
                next: 0,
                fetched: 0,
                consumed_to: *start,
            };
            self.prefetch_entries(server, session.db, &mut turn.fetched);
            session
                .client
                .active_ms
                .store(turn.now_ms, Ordering::Relaxed);
            while turn.next < self.slots.len() {
                let mut stop = self.step(server, session, reply, &mut turn);
                if stop.is_none() && reply.len() > REPLY_SOFT_BYTES {
                    stop = Some(Stop::HasMore);
                }
                if let Some(stop) = stop {
                    *start = turn.consumed_to;
                    self.give_up_parsed(turn.next);
                    return stop;
                }
            }
            // They may have taken long.
            let ended_ms = unix_ms_at(turn.clock);
            session.client.active_ms.store(ended_ms, Ordering::Relaxed);
            *start = parsed.end;
            match parsed.outcome {
                Outcome::Full => continue,
                Outcome::NeedsInput(bytes) => return Stop::NeedsInput(bytes),
                Outcome::Broken(error) => {
                    let error = CommandError::err(error);
                    reply_last_error(server, session, reply, &error);
                    return Stop::Close;
                }
            }
        }
    }

    /// Runs the next request, or several that can take the short way.
    #[inline]
    fn step(
        &self,
        server: &'static Server,
        session: &mut Session,
        reply: &mut ReplyBuffer,
        turn: &mut Turn<'_>,
    ) -> Option<Stop> {
        self.keep_ahead(server, session.db, turn.next, &mut turn.fetched);
        turn.gate_version = server.gate_version.load(Ordering::Acquire);
        // What is open changes with each command that goes the long way.
        let open = match self.slots[turn.next].is_direct() {
            true => direct::open(server, session),
            false => gate::Open::Nothing,
        };
        if open != gate::Open::Nothing {
            let next = self.run_direct(server, session, reply, turn, open);
            if next != turn.next {
                turn.next = next;
                turn.consumed_to = self.slots[next - 1].bytes.end;
                return None;
            }
        }
        self.run_single(server, session, reply, turn)
    }

    /// Requests that were parsed but not run are parsed again later: the
    /// parser forgets the one it is in the middle of.
    fn give_up_parsed(&mut self, from: usize) {
        if from < self.slots.len() || self.parser.is_mid_command() {
            self.parser = RequestParser::new();
            self.unfinished.clear();
        }
    }

    fn prefetch_buckets(&self, server: &Server, session: &Session) {
        if self.slots.len() < MIN_BATCH {
            return;
        }
        if let Some(glimpse) = server.keyspace.glimpse(session.db) {
            for (hash, number) in self.slots.iter().filter_map(|slot| slot.key) {
                glimpse.fetch_bucket(number, hash);
            }
        }
    }

    /// Has the entries of the next few requests fetched, from `fetched` on.
    #[inline]
    fn prefetch_entries(&self, server: &Server, db: u32, fetched: &mut usize) {
        let few = self.slots.get(*fetched..).unwrap_or_default();
        *fetched += FETCHED_AT_ONCE;
        if self.slots.len() < MIN_BATCH {
            return;
        }
        if let Some(glimpse) = server.keyspace.glimpse(db) {
            for slot in &few[..few.len().min(FETCHED_AT_ONCE)] {
                if let Some((hash, number)) = slot.key {
                    glimpse.fetch_entry(number, hash);
                }
            }
        }
    }

    /// Keeps what is fetched ahead of request `index`, which is about to run.
    #[inline]
    fn keep_ahead(&self, server: &Server, db: u32, index: usize, fetched: &mut usize) {
        if index + FETCHED_AT_ONCE >= *fetched && *fetched < self.slots.len() {
            self.prefetch_entries(server, db, fetched);
        }
    }
}

/// Answers what is no request, after all that was pushed before; not at all if
/// its client wants no reply.
#[cold]
fn reply_last_error(
    server: &Server,
    session: &Session,
    reply: &mut ReplyBuffer,
    error: &CommandError,
) {
    session.client.take_outbox(&mut reply.buf);
    let mark = reply.len();
    reply_error(server, reply, error);
    if session.reply_mode != ReplyMode::On {
        reply.truncate(mark);
    }
}

/// Where the work on a batch stands.
struct Turn<'i> {
    /// The query buffer.
    input: &'i [u8],
    /// Where the batch ends in it.
    parsed_to: usize,
    /// When the batch began, Unix ms.
    now_ms: i64,
    /// What is worth a note.
    limits: Limits,
    /// When the request before ended.
    clock: Ticks,
    /// See [`Server::gate_version`], as of the last look at the gate.
    gate_version: u64,
    /// The request to run next.
    next: usize,
    /// Entries of the requests before this one have been asked for.
    fetched: usize,
    /// Where what has run ends in the query buffer.
    consumed_to: usize,
}

#[cfg(test)]
mod tests;
