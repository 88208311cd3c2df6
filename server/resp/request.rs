//! The request parser: bytes from a client to the arguments of a command.
//!
//! A request is an array of bulk strings, `*N\r\n` and N times
//! `$len\r\n<bytes>\r\n`, or an *inline command*: one line of words, typed by
//! hand. The parser borrows: arguments are ranges of the caller's query
//! buffer. It is resumable: what it has read of an unfinished command is never
//! read again, whether the rest is one bulk string that arrives in thousands
//! of pieces or a million small ones. It reserves nothing by a client's claim,
//! so that its memory is bounded by the bytes received.
//!
//! Error texts and limits are those of Valkey's `networking.c`.

use std::fmt;
use std::ops::Range;

use super::split;
use crate::number;

/// The longest inline command, and the longest line that holds a length.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// What a client that has not authenticated may send in one command.
const UNAUTHENTICATED_MAX_ARGS: i64 = 10;
/// The longest argument of a client that has not authenticated.
const UNAUTHENTICATED_MAX_BULK_BYTES: i64 = 16 * 1024;
/// Marks that the length of the next argument has not been read yet.
const UNKNOWN: usize = usize::MAX;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// `proto-max-bulk-len`, in bytes; `i64::MAX` for the stream of a primary.
    pub max_bulk_bytes: i64,
    /// Whether the client has logged in, or need not.
    pub authenticated: bool,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_bulk_bytes: 512 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// What a call of [`RequestParser::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole command; its arguments are ranges of the buffer that was passed.
    Complete {
        /// Bytes of the buffer that the command takes up.
        consumed: usize,
    },
    /// A whole inline command, of words that stand as they are meant; its
    /// arguments are ranges of the buffer that was passed.
    Words {
        /// Bytes of the buffer that the command takes up.
        consumed: usize,
    },
    /// A whole inline command with quotes; its arguments are ranges of
    /// [`RequestParser::inline_bytes`], valid until the next call.
    Inline {
        /// Bytes of the buffer that the command takes up.
        consumed: usize,
    },
    /// An empty line or an empty array: nothing to run. Replicas send such
    /// lines to show that they are alive.
    Empty {
        /// Bytes to drop.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// No call with a shorter buffer can finish the argument at hand: a
        /// hint for the size of the read buffer. Always more than was passed.
        needed_at_least: usize,
    },
}

/// Why a connection has to be closed; `Display` is the text of the error
/// reply, without its leading `-ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count after `*` is no number, or too large.
    InvalidMultibulkLength,
    /// The line that begins with `*` doesn't end.
    TooBigMultibulkCount,
    /// The line that should begin with `$` doesn't end.
    TooBigBulkCount,
    /// Something other than `$` where an argument should begin.
    ExpectedDollar(u8),
    /// The length after `$` is no number, negative, or over the limit.
    InvalidBulkLength,
    /// An argument doesn't end where its length says.
    InvalidCrlf,
    /// More arguments than a client may send before it logs in.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it logs in.
    UnauthenticatedBulkLength,
    /// An inline command that doesn't end.
    TooBigInlineRequest,
    /// An inline command with a quote that isn't closed.
    UnbalancedQuotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::ExpectedDollar(got) => {
                return write!(f, "expected '$', got '{}'", char::from(*got));
            }
            Self::InvalidCrlf => "invalid CRLF in request",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::TooBigInlineRequest => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// The state of one connection's parser between two reads.
#[derive(Debug)]
pub struct RequestParser {
    /// Arguments of the current command still to be read; 0 at its start.
    remaining: usize,
    /// Bytes of the current command that are read for good.
    position: usize,
    /// Length of the argument at hand, or [`UNKNOWN`].
    bulk_len: usize,
    /// Bytes of an inline command known to hold no newline.
    scanned: usize,
    /// The unescaped words of the last inline command with quotes.
    inline: Vec<u8>,
}

impl Default for RequestParser {
    fn default() -> Self {
        Self::new()
    }
}

/// A line that holds a length.
enum LengthLine {
    /// The number, and where the next line begins.
    Number(i64, usize),
    /// A whole line that is no number in canonical form.
    Malformed,
    /// What follows the line's `\r` is no `\n`.
    Unended,
    /// The line has not arrived whole.
    Unfinished,
}

impl RequestParser {
    /// A parser at the start of a command.
    pub fn new() -> Self {
        Self {
            remaining: 0,
            position: 0,
            bulk_len: UNKNOWN,
            scanned: 0,
            inline: Vec::new(),
        }
    }

    /// Parses one command.
    ///
    /// `buf` is all of the query buffer that is not consumed yet. After
    /// [`Parsed::Incomplete`] the next call must pass the same bytes with more
    /// behind them (they may have moved), and the same `args`. Arguments are
    /// appended to `args`: the caller empties it, or notes its length, before
    /// each new command. After an error the connection is of no more use.
    #[inline]
    pub fn next(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
        args: &mut Vec<Range<usize>>,
    ) -> Result<Parsed, ProtocolError> {
        if self.remaining == 0 && self.position == 0 {
            match buf.first() {
                None => return Ok(Parsed::Incomplete { needed_at_least: 1 }),
                Some(b'*') => match short_length(buf, 0, b'*') {
                    Some((count @ 1.., next)) if count as i64 <= UNAUTHENTICATED_MAX_ARGS => {
                        (self.remaining, self.position) = (count, next);
                    }
                    _ => {
                        if let Some(parsed) = self.start_array(buf, limits)? {
                            return Ok(parsed);
                        }
                    }
                },
                Some(_) => return self.inline_command(buf, args),
            }
        }
        self.arguments(buf, limits, args)
    }

    /// Goes on as if a request's count and its first arguments, `bytes` in all,
    /// had been read, with `rest` more to come. The caller has pushed the first ones.
    #[inline]
    pub fn skip(&mut self, bytes: usize, rest: usize) {
        debug_assert!(!self.is_mid_command());
        (self.position, self.remaining) = (bytes, rest);
    }

    /// The words of the command that [`Parsed::Inline`] announced.
    pub fn inline_bytes(&self) -> &[u8] {
        &self.inline
    }

    /// Whether a command has been begun and not finished.
    pub fn is_mid_command(&self) -> bool {
        self.remaining != 0 || self.scanned != 0
    }

    /// Reads the line `*N`. Returns something when there are no arguments to
    /// go on with.
    fn start_array(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
    ) -> Result<Option<Parsed>, ProtocolError> {
        let (count, next) = match length_line(buf, 0) {
            LengthLine::Number(count, next) => (count, next),
            LengthLine::Malformed => return Err(ProtocolError::InvalidMultibulkLength),
            LengthLine::Unended => return Err(ProtocolError::InvalidCrlf),
            LengthLine::Unfinished if buf.len() > MAX_LINE_BYTES => {
                return Err(ProtocolError::TooBigMultibulkCount);
            }
            LengthLine::Unfinished => {
                let needed_at_least = buf.len() + 1;
                return Ok(Some(Parsed::Incomplete { needed_at_least }));
            }
        };
        if count > i64::from(i32::MAX) {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if !limits.authenticated && count > UNAUTHENTICATED_MAX_ARGS {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if count <= 0 {
            return Ok(Some(Parsed::Empty { consumed: next }));
        }
        self.remaining = count as usize;
        self.position = next;
        Ok(None)
    }

    /// Reads arguments until the command or the buffer ends.
    #[inline]
    fn arguments(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
        args: &mut Vec<Range<usize>>,
    ) -> Result<Parsed, ProtocolError> {
        let mut at = self.position;
        let mut len = self.bulk_len;
        let mut remaining = self.remaining;
        while remaining > 0 {
            if len == UNKNOWN {
                let line = match short_length(buf, at, b'$') {
                    Some(line) if line.0 as i64 <= limits.max_bulk_bytes => Some(line),
                    _ => bulk_length(buf, at, limits)?,
                };
                match line {
                    Some(line) => (len, at) = line,
                    None => return Ok(self.pause(at, UNKNOWN, remaining, buf.len() + 1)),
                }
            }
            // Lengths are limited to what fits, so this can't overflow on a
            // 64-bit machine; on any other it only asks for more bytes.
            let end = at.saturating_add(len);
            match buf.get(end..).and_then(|behind| behind.first_chunk()) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::InvalidCrlf),
                None => return Ok(self.pause(at, len, remaining, end.saturating_add(2))),
            }
            args.push(at..end);
            at = end + 2;
            len = UNKNOWN;
            remaining -= 1;
        }
        self.remaining = 0;
        self.position = 0;
        self.bulk_len = UNKNOWN;
        Ok(Parsed::Complete { consumed: at })
    }

    /// Keeps the state for the next call.
    fn pause(&mut self, at: usize, len: usize, remaining: usize, needed: usize) -> Parsed {
        self.position = at;
        self.bulk_len = len;
        self.remaining = remaining;
        Parsed::Incomplete {
            needed_at_least: needed,
        }
    }

    #[cold]
    fn inline_command(
        &mut self,
        buf: &[u8],
        args: &mut Vec<Range<usize>>,
    ) -> Result<Parsed, ProtocolError> {
        let unseen = buf.get(self.scanned..).unwrap_or_default();
        let Some(offset) = memchr::memchr(b'\n', unseen) else {
            if buf.len() > MAX_LINE_BYTES {
                return Err(ProtocolError::TooBigInlineRequest);
            }
            self.scanned = buf.len();
            return Ok(Parsed::Incomplete {
                needed_at_least: buf.len() + 1,
            });
        };
        let newline = self.scanned + offset;
        self.scanned = 0;
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let consumed = newline + 1;
        let args_before = args.len();
        let plain = split::split_plain(line, args);
        if !plain {
            self.inline.clear();
            split::split_into(line, &mut self.inline, args)
                .map_err(|split::UnbalancedQuotes| ProtocolError::UnbalancedQuotes)?;
        }
        Ok(match plain {
            _ if args.len() == args_before => Parsed::Empty { consumed },
            true => Parsed::Words { consumed },
            false => Parsed::Inline { consumed },
        })
    }
}

/// A length below 100 behind its `kind`, and where the next line begins, if at
/// least a byte of that is there: almost all lengths are.
#[inline]
fn short_length(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let [first, tens, units, third, fourth] = *buf.get(at..)?.first_chunk()?;
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    let (tens, units) = (digit(tens), digit(units));
    if first != kind || tens > 9 {
        return None;
    }
    match (third, fourth) {
        (b'\n', _) if units == digit(b'\r') => Some((tens, at + 4)),
        (b'\r', b'\n') if units <= 9 && tens > 0 => Some((tens * 10 + units, at + 5)),
        _ => None,
    }
}

/// Reads the line `$len` at `at`; `None` when it has not arrived whole.
fn bulk_length(
    buf: &[u8],
    at: usize,
    limits: &RequestLimits,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let line = length_line(buf, at);
    let (len, next) = match line {
        LengthLine::Number(len, next) if buf[at] == b'$' => (len, next),
        LengthLine::Unfinished if buf.len() - at > MAX_LINE_BYTES => {
            return Err(ProtocolError::TooBigBulkCount);
        }
        LengthLine::Unfinished => return Ok(None),
        _ if buf[at] != b'$' => return Err(ProtocolError::ExpectedDollar(buf[at])),
        LengthLine::Unended => return Err(ProtocolError::InvalidCrlf),
        _ => return Err(ProtocolError::InvalidBulkLength),
    };
    if len < 0 || len > limits.max_bulk_bytes {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if !limits.authenticated && len > UNAUTHENTICATED_MAX_BULK_BYTES {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    let len = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
    Ok(Some((len, next)))
}

/// Reads the number between a type byte at `at` and the next `\r`.
fn length_line(buf: &[u8], at: usize) -> LengthLine {
    let Some(line) = buf.get(at + 1..) else {
        return LengthLine::Unfinished;
    };
    // A claim that never ends is looked at up to the limit only.
    let window = &line[..line.len().min(MAX_LINE_BYTES + 1)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return LengthLine::Unfinished;
    };
    match line.get(end + 1) {
        None => return LengthLine::Unfinished,
        Some(b'\n') => {}
        Some(_) => return LengthLine::Unended,
    }
    match number::parse_i64(&line[..end]) {
        Some(value) => LengthLine::Number(value, at + 1 + end + 2),
        None => LengthLine::Malformed,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
