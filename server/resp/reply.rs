//! The reply buffer: every type of RESP2 and RESP3, encoded in place.
//!
//! | method | RESP2 | RESP3 |
//! |---|---|---|
//! | `null` | `$-1` | `_` |
//! | `null_array` | `*-1` | `_` |
//! | `boolean` | `:1`, `:0` | `#t`, `#f` |
//! | `double` | `$3 1.5` | `,1.5` |
//! | `big_number` | `$n ...` | `(...` |
//! | `verbatim` | `$n text` | `=n txt:text` |
//! | `map(n)` | `*2n` | `%n` |
//! | `set(n)` | `*n` | `~n` |
//! | `push(n)` | `*n` | `>n` |
//!
//! Nothing is allocated but the buffer itself.

use super::Protocol;
use crate::number;

/// Replies on their way to one client.
#[derive(Debug, Default)]
pub struct ReplyBuffer {
    /// The encoded replies.
    pub buf: Vec<u8>,
    /// The version in which the next reply is encoded.
    pub protocol: Protocol,
}

/// Where the length of an aggregate will be filled in.
#[must_use = "an aggregate without its length is no reply"]
#[derive(Debug)]
pub struct Deferred {
    at: usize,
}

/// The most bytes around the bytes of a bulk string.
const LONGEST_BULK_FRAME: usize = 1 + 20 + 2 + 2;

/// Room for a header with one digit: `*0\r\n`.
const SHORT_HEADER: &[u8; 4] = b"*0\r\n";

impl ReplyBuffer {
    /// An empty buffer.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            buf: Vec::new(),
            protocol,
        }
    }

    /// Bytes encoded so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing is encoded.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Undoes all that was encoded since the buffer was `len` bytes long.
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` holds no line break.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    /// A simple string of any bytes but line breaks.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// An error. `text` begins with its code (`ERR`, `WRONGTYPE`, ...); line
    /// breaks in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.buf.push(b'-');
        let text = text.trim_end_matches(['\r', '\n']).bytes();
        self.buf.extend(text.map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
        self.end_line();
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if let 0..=9 = value {
            let line = [b':', b'0' + value as u8, b'\r', b'\n'];
            self.buf.extend_from_slice(&line);
        } else {
            self.header_i64(b':', value);
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + LONGEST_BULK_FRAME);
        self.header(b'$', bytes.len());
        let at = self.buf.len();
        // SAFETY: there is room for more than the bytes and the end of a line
        // behind what is there, which is theirs from here on.
        unsafe {
            let out = self.buf.as_mut_ptr().add(at);
            out.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            out.add(bytes.len()).cast::<[u8; 2]>().write(*b"\r\n");
            self.buf.set_len(at + bytes.len() + 2);
        }
    }

    /// A bulk string that holds a decimal integer.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.buf.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array: a blocking command timed out, a transaction was aborted.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` replies.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// The head of a map of `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    /// The head of a set of `len` replies.
    pub fn set(&mut self, len: usize) {
        self.header_by_protocol(b'~', len);
    }

    /// The head of an out-of-band message of `len` replies.
    pub fn push(&mut self, len: usize) {
        self.header_by_protocol(b'>', len);
    }

    /// The head of `pairs` attributes of the reply that follows. RESP2 has
    /// none: there the caller must leave them out.
    pub fn attribute(&mut self, pairs: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3);
        self.header(b'|', pairs);
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) {
        self.buf.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let at = self.buf.len();
                // A double takes up to 32 bytes, so its length two digits.
                self.buf.extend_from_slice(b"$00\r\n");
                number::format_f64(value, &mut self.buf);
                let digits = self.buf.len() - at - 5;
                self.buf[at + 1] += (digits / 10) as u8;
                self.buf[at + 2] += (digits % 10) as u8;
                if digits < 10 {
                    self.buf.remove(at + 1);
                }
            }
            Protocol::Resp3 => {
                self.buf.push(b',');
                number::format_f64(value, &mut self.buf);
            }
        }
        self.end_line();
    }

    /// An integer of any size, given in decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text for humans; `format` is three letters, such as `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.buf.extend_from_slice(format.as_bytes());
                self.buf.push(b':');
                self.buf.extend_from_slice(text);
                self.end_line();
            }
        }
    }

    /// Replies that are encoded already.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.buf.extend_from_slice(encoded);
    }

    /// Begins an aggregate whose length isn't known yet.
    pub fn defer(&mut self) -> Deferred {
        let at = self.buf.len();
        self.buf.extend_from_slice(SHORT_HEADER);
        Deferred { at }
    }

    /// Ends a deferred aggregate as an array of `len` replies. Lengths beyond
    /// one digit move what was encoded since, once.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, b'*', len);
    }

    /// Ends a deferred aggregate as a map of `pairs` keys and values.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.finish(deferred, b'*', pairs * 2),
            Protocol::Resp3 => self.finish(deferred, b'%', pairs),
        }
    }

    /// Ends a deferred aggregate as a set of `len` replies.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.finish(deferred, b'*', len),
            Protocol::Resp3 => self.finish(deferred, b'~', len),
        }
    }

    fn finish(&mut self, deferred: Deferred, kind: u8, len: usize) {
        let at = deferred.at;
        self.buf[at] = kind;
        if len < 10 {
            self.buf[at + 1] = b'0' + len as u8;
            return;
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        self.buf.splice(at + 1..at + 2, digits.iter().copied());
    }

    fn header_by_protocol(&mut self, resp3_kind: u8, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(resp3_kind, len),
        }
    }

    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        match len {
            0..=9 => {
                let line = [kind, b'0' + len as u8, b'\r', b'\n'];
                self.buf.extend_from_slice(&line);
            }
            10..=99 => {
                let (tens, units) = ((len / 10) as u8, (len % 10) as u8);
                let line = [kind, b'0' + tens, b'0' + units, b'\r', b'\n'];
                self.buf.extend_from_slice(&line);
            }
            _ => self.header_i64(kind, len as i64),
        }
    }

    fn header_i64(&mut self, kind: u8, value: i64) {
        self.line(kind, itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buf.push(kind);
        self.buf.extend_from_slice(text);
        self.end_line();
    }

    #[inline]
    fn end_line(&mut self) {
        self.buf.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
