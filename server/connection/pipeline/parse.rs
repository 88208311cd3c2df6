//! The first pass over a query buffer: a batch of requests with their commands
//! and keys.
//!
//! Pipelines repeat themselves. Where a request begins with the very bytes that
//! the last one began with, up to the end of its first argument or to that of
//! the line with the second's length, these are neither parsed nor looked up
//! again; nor is a short third argument of the same length.

use std::ops::Range;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::{BATCH, Pipeline, Slot};
use crate::commands::command::{Begin, Command, Find};
use crate::commands::table::{Found, table};
use crate::connection::session::Session;
use crate::keyspace::KeyRef;
use crate::keyspace::table::same_bytes;
use crate::resp::request::{Parsed, ProtocolError, RequestLimits};
use crate::state::Server;

/// Heads up to this size are remembered; a longer one would not be compared in
/// a few steps.
const HEAD_BYTES: usize = 32;
/// The longest second argument whose length is remembered: most keys are no
/// longer, and no limit on what a client may send is below it.
const SHORT: usize = 99;

/// What a query buffer began with.
pub(super) struct Batch {
    /// Where in the buffer it ends.
    pub(super) end: usize,
    pub(super) outcome: Outcome,
}

/// Why a batch ended.
pub(super) enum Outcome {
    /// It is as large as one gets.
    Full,
    /// The next request has not arrived whole: at least this many bytes are needed.
    NeedsInput(usize),
    /// What follows is no request.
    Broken(ProtocolError),
}

/// How the request that was looked up last began.
pub(super) struct Last {
    /// Its count of arguments and the first of them; behind that the line with
    /// the second's length, if that is short.
    head: SmallVec<[u8; HEAD_BYTES]>,
    /// Where the first argument ends in the head.
    name_end: usize,
    /// Where in the head its name stands.
    name: Range<usize>,
    /// How many arguments follow the first.
    rest: usize,
    /// Length of the second.
    second: usize,
    /// Whether that is the key.
    second_is_key: bool,
    /// The line with the length of the third if that is the last one, and short.
    third_line: SmallVec<[u8; 8]>,
    /// That length.
    third: usize,
    found: Found,
}

impl Last {
    #[inline]
    fn begins(&self, input: &[u8], bytes: usize) -> bool {
        input
            .get(..bytes)
            .is_some_and(|head| same_bytes(head, &self.head[..bytes]))
    }

    /// Where the second argument lies in `input` if that begins with the whole head
    /// and the argument has arrived.
    #[inline]
    fn second_in(&self, input: &[u8]) -> Option<Range<usize>> {
        let from = self.head.len();
        if from == self.name_end || !self.begins(input, from) {
            return None;
        }
        whole(input, from, self.second)
    }

    /// The same of the third, whose line would begin at `at`.
    #[inline]
    fn third_in(&self, input: &[u8], at: usize) -> Option<Range<usize>> {
        let from = at + self.third_line.len();
        if from == at || !same_bytes(input.get(at..from)?, &self.third_line) {
            return None;
        }
        whole(input, from, self.third)
    }

    /// Takes the line of the second argument's length from a request that begins with
    /// the same first one.
    fn learn_second(&mut self, request: &[u8], args: &[Range<usize>]) {
        self.head.truncate(self.name_end);
        if let Some(second) = args.get(1)
            && second.len() <= SHORT
            && second.start <= HEAD_BYTES
        {
            let line = &request[self.name_end..second.start];
            self.head.extend_from_slice(line);
            self.second = second.len();
        }
        self.learn_third(request, args);
    }

    /// Takes the line of the third argument's length if there is no fourth one.
    fn learn_third(&mut self, request: &[u8], args: &[Range<usize>]) {
        self.third_line.clear();
        if let [_, second, third] = args
            && third.len() <= SHORT
        {
            let line = &request[second.end + 2..third.start];
            self.third_line.extend_from_slice(line);
            self.third = third.len();
        }
    }
}

/// An argument of so many bytes that begins at `from`, if it has arrived.
#[inline]
fn whole(input: &[u8], from: usize, len: usize) -> Option<Range<usize>> {
    let end = from + len;
    let is_whole = input.get(end..)?.first_chunk() == Some(b"\r\n");
    is_whole.then_some(from..end)
}

/// What is known of a request from the one before it.
enum Known {
    Nothing,
    /// Its first argument has been skipped.
    First(Found),
    /// The first two have.
    Two(Found),
}

impl Pipeline {
    /// Parses up to [`BATCH`] requests, from `start` on.
    pub(super) fn parse_batch(
        &mut self,
        server: &Server,
        session: &Session,
        input: &[u8],
        start: usize,
    ) -> Batch {
        self.ranges.clear();
        std::mem::swap(&mut self.ranges, &mut self.unfinished);
        let mut first = 0;
        self.slots.clear();
        let limits = RequestLimits {
            max_bulk_bytes: server.settings.proto_max_bulk_len.load(Ordering::Relaxed),
            authenticated: session.authenticated,
        };
        let mut at = start;
        // A login changes what may be sent behind it.
        let most = if session.authenticated { BATCH } else { 1 };
        let outcome = loop {
            if self.slots.len() == most {
                break Outcome::Full;
            }
            let rest = &input[at..];
            if let Some(consumed) = self.take_alike(server, session, rest, at) {
                at += consumed;
                first = self.ranges.len();
                if at == input.len() {
                    break Outcome::NeedsInput(1);
                }
                continue;
            }
            let known = self.skip_head(rest, &limits);
            match self.parser.next(rest, &limits, &mut self.ranges) {
                Ok(parsed @ (Parsed::Complete { consumed } | Parsed::Words { consumed })) => {
                    let args = first..self.ranges.len();
                    let mut slot = Slot::bare(args.clone(), at..at + consumed);
                    let request = &rest[..consumed];
                    slot.is_array = matches!(parsed, Parsed::Complete { .. });
                    slot.found = self.command(&known, args.clone(), request);
                    slot.key = self.first_key(server, session, slot.found, args, request);
                    self.slots.push(slot);
                    at += consumed;
                }
                Ok(Parsed::Inline { consumed }) => {
                    // Its arguments live in the parser until the next call, so
                    // the batch ends here.
                    self.slots.push(Slot::bare(first..self.ranges.len(), 0..0));
                    at += consumed;
                    break Outcome::Full;
                }
                Ok(Parsed::Empty { consumed }) => {
                    self.slots.push(Slot::bare(first..first, at..at + consumed));
                    at += consumed;
                }
                Ok(Parsed::Incomplete { needed_at_least }) => {
                    self.keep_unfinished(first);
                    break Outcome::NeedsInput(needed_at_least);
                }
                Err(error) => break Outcome::Broken(error),
            }
            first = self.ranges.len();
            if at == input.len() {
                break Outcome::NeedsInput(1);
            }
        };
        Batch { end: at, outcome }
    }

    /// Takes a request at `at`, whose bytes `input` begins with, that is the last one
    /// but for what its second and third argument hold, and gives its length.
    #[inline]
    fn take_alike(
        &mut self,
        server: &Server,
        session: &Session,
        input: &[u8],
        at: usize,
    ) -> Option<usize> {
        let last = self.last.as_ref()?;
        if last.rest > 2 || !session.authenticated || self.parser.is_mid_command() {
            return None;
        }
        let second = last.second_in(input)?;
        let third = match last.rest {
            1 => None,
            _ => Some(last.third_in(input, second.end + 2)?),
        };
        let key = last.second_is_key.then(|| {
            let key = KeyRef::new(&input[second.clone()]);
            server.keyspace.fetch_table(session.db, key.slot);
            (key.hash, key.slot)
        });
        let first = self.ranges.len();
        let end = 2 + third.as_ref().map_or(second.end, |third| third.end);
        self.ranges.extend([last.name.clone(), second]);
        self.ranges.extend(third);
        self.slots.push(Slot {
            args: first..self.ranges.len(),
            bytes: at..at + end,
            is_array: true,
            found: Some(last.found),
            key,
        });
        Some(end)
    }

    /// Keeps the arguments of a request that has not arrived whole, which are the
    /// ranges from `first` on. A large one comes in many pieces: it is not copied for
    /// each.
    fn keep_unfinished(&mut self, first: usize) {
        match first {
            0 => std::mem::swap(&mut self.ranges, &mut self.unfinished),
            _ => self.unfinished.extend(self.ranges.drain(first..)),
        }
    }

    /// Skips how a request begins if the last one began so as well, and gives what
    /// it is then.
    #[inline]
    fn skip_head(&mut self, input: &[u8], limits: &RequestLimits) -> Known {
        let Some(last) = &self.last else {
            return Known::Nothing;
        };
        if !limits.authenticated || self.parser.is_mid_command() {
            return Known::Nothing;
        }
        if last.rest > 1
            && let Some(second) = last.second_in(input)
        {
            let end = second.end + 2;
            self.ranges.extend([last.name.clone(), second]);
            self.parser.skip(end, last.rest - 1);
            return Known::Two(last.found);
        }
        if !last.begins(input, last.name_end) {
            return Known::Nothing;
        }
        self.ranges.push(last.name.clone());
        self.parser.skip(last.name_end, last.rest);
        Known::First(last.found)
    }

    /// What a whole request is for, of which so much was known.
    #[inline]
    fn command(&mut self, known: &Known, args: Range<usize>, request: &[u8]) -> Option<Found> {
        match known {
            Known::Two(found) => {
                if let Some(last) = &mut self.last {
                    last.learn_third(request, &self.ranges[args]);
                }
                Some(*found)
            }
            Known::First(found) => {
                if let Some(last) = &mut self.last {
                    last.learn_second(request, &self.ranges[args]);
                }
                Some(*found)
            }
            Known::Nothing => self.find(args, request),
        }
    }

    fn find(&mut self, args: Range<usize>, request: &[u8]) -> Option<Found> {
        let words = &self.ranges[args];
        let head: SmallVec<[&[u8]; 2]> = words
            .iter()
            .take(2)
            .map(|range| &request[range.clone()])
            .collect();
        let found = table().find_called(&head)?;
        let name = words[0].clone();
        let by_name = !found.command.name.contains('|') && found.command.subcommands.is_empty();
        if by_name && request[0] == b'*' && name.end + 2 <= HEAD_BYTES {
            let name_end = name.end + 2;
            let mut last = Last {
                head: SmallVec::from_slice(&request[..name_end]),
                name_end,
                name,
                rest: words.len() - 1,
                second: 0,
                second_is_key: first_key(found.command, words, request) == words.get(1),
                third_line: SmallVec::new(),
                third: 0,
                found,
            };
            last.learn_second(request, words);
            self.last = Some(last);
        }
        Some(found)
    }

    /// Hash and slot of a request's first key, whose table is fetched.
    #[inline]
    fn first_key(
        &self,
        server: &Server,
        session: &Session,
        found: Option<Found>,
        args: Range<usize>,
        request: &[u8],
    ) -> Option<(u64, u16)> {
        let range = first_key(found?.command, &self.ranges[args], request)?;
        let key = KeyRef::new(&request[range.clone()]);
        server.keyspace.fetch_table(session.db, key.slot);
        Some((key.hash, key.slot))
    }
}

/// Where the first key of a command stands, if that is quickly told.
#[inline]
fn first_key<'w>(
    command: &Command,
    words: &'w [Range<usize>],
    request: &[u8],
) -> Option<&'w Range<usize>> {
    let spec = command.keys.first()?;
    let Begin::Index(at) = spec.begin else {
        return None;
    };
    let Find::Keynum {
        number_at, first, ..
    } = spec.find
    else {
        return words.get(at);
    };
    let number = words.get(at + number_at)?;
    matches!(request.get(number.start), Some(b'1'..=b'9'))
        .then(|| words.get(at + first))
        .flatten()
}
