//! Streams of commands that no client sends: a log's, a primary's, another
//! node's. Nothing of them is typed by hand, and their arguments may be of any
//! length.

use std::ops::Range;

use super::request::{Parsed, RequestLimits, RequestParser};

const LIMITS: RequestLimits = RequestLimits {
    max_bulk_bytes: i64::MAX,
    authenticated: true,
};

/// A part of a stream.
#[derive(Debug)]
pub enum Part<'a> {
    /// A whole command.
    Command {
        /// Name and arguments.
        args: &'a [&'a [u8]],
        /// All its bytes.
        raw: &'a [u8],
    },
    /// Bytes that say nothing: an empty line, which tells that the sender lives.
    Filler(&'a [u8]),
    /// What follows is no command: the stream can't be read any further.
    Garbled,
}

/// Tells the commands of a stream apart, wherever reads of it end.
#[derive(Default)]
pub struct CommandStream {
    parser: RequestParser,
    ranges: Vec<Range<usize>>,
    input: Vec<u8>,
}

impl CommandStream {
    /// A stream whose first bytes have been read already.
    pub fn beginning_with(input: Vec<u8>) -> CommandStream {
        CommandStream {
            input,
            ..CommandStream::default()
        }
    }

    /// Takes in more of the stream and gives `take` all parts that are whole,
    /// until it fails.
    pub fn feed<E>(
        &mut self,
        bytes: &[u8],
        take: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut start = 0;
        let done = self.each(&input, &mut start, take);
        input.drain(..start);
        self.input = input;
        done
    }

    /// Gives `take` all whole parts of the caller's own buffer from `start` on,
    /// which moves to what is not whole yet, or behind the part at which `take`
    /// failed.
    pub fn each<E>(
        &mut self,
        buffer: &[u8],
        start: &mut usize,
        mut take: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let rest = &buffer[*start..];
            match self.parser.next(rest, &LIMITS, &mut self.ranges) {
                Ok(Parsed::Complete { consumed }) => {
                    let ranges = self.ranges.drain(..);
                    let args: Vec<&[u8]> = ranges.map(|range| &rest[range]).collect();
                    let raw = &rest[..consumed];
                    *start += consumed;
                    take(Part::Command { args: &args, raw })?;
                }
                Ok(Parsed::Empty { consumed }) => {
                    *start += consumed;
                    take(Part::Filler(&rest[..consumed]))?;
                }
                Ok(Parsed::Incomplete { .. }) => return Ok(()),
                Ok(Parsed::Words { .. } | Parsed::Inline { .. }) | Err(_) => {
                    return take(Part::Garbled);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream in pieces of so many bytes is made of; stops at `stop`.
    fn parts(bytes: &[u8], piece: usize, stop: &str) -> (Vec<String>, bool) {
        let mut found = Vec::new();
        let mut stream = CommandStream::default();
        let stopped = bytes.chunks(piece).any(|chunk| {
            let fed = stream.feed(chunk, |part| {
                let text = match part {
                    Part::Command { args, .. } => args.concat(),
                    Part::Filler(bytes) => format!("filler {}", bytes.len()).into_bytes(),
                    Part::Garbled => b"garbled".to_vec(),
                };
                found.push(String::from_utf8_lossy(&text).into_owned());
                match found.last().is_some_and(|text| text == stop) {
                    true => Err(()),
                    false => Ok(()),
                }
            });
            fed.is_err()
        });
        (found, stopped)
    }

    #[test]
    fn parts_are_the_same_wherever_reads_end() {
        let bytes = b"*1\r\n$4\r\nPING\r\n\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n";
        let expected = ["PING", "filler 1", "DELa", "EXEC"];
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!(parts(bytes, piece, "").0, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn it_ends_where_taking_fails_and_at_what_is_no_command() {
        let bytes = b"*1\r\n$4\r\nPING\r\n*1\r\n$1\r\nx\r\n";
        assert_eq!(parts(bytes, 100, "PING"), (vec!["PING".into()], true));
        let bytes = b"*1\r\n$4\r\nPING\r\nGET a\r\n";
        let expected = vec!["PING".to_owned(), "garbled".to_owned()];
        assert_eq!(parts(bytes, 100, ""), (expected, false));
    }
}
