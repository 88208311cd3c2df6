//! Reading ids from arguments.
//!
//! | form | where | meaning |
//! |---|---|---|
//! | `ms-seq` | everywhere | that id |
//! | `ms` | everywhere | sequence 0, or the largest where a range ends |
//! | `-`, `+` | ranges, XGROUP SETID | the smallest and the largest id |
//! | `(id` | ranges | without that id |
//! | `ms-*`, `*` | XADD | the server completes or makes it |

use crate::commands::error::CommandError;
use crate::keyspace::stream::StreamId;

/// Longer arguments are no ids.
const MAX_LEN: usize = 127;

/// The id that XADD is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewId {
    /// Any that fits.
    Auto,
    /// Any of this millisecond.
    Within(u64),
    /// This one.
    Exactly(StreamId),
}

fn invalid() -> CommandError {
    CommandError::err("Invalid stream ID specified as stream command argument")
}

/// An unsigned number: digits, with blanks and a plus before them if need be.
fn unsigned(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parts(arg: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if arg.len() > MAX_LEN {
        return None;
    }
    match arg.iter().position(|&byte| byte == b'-') {
        Some(dash) => Some((unsigned(&arg[..dash])?, Some(&arg[dash + 1..]))),
        None => Some((unsigned(arg)?, None)),
    }
}

fn plain(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    let (ms, seq) = parts(arg).ok_or_else(invalid)?;
    let seq = match seq {
        None => missing_seq,
        Some(seq) => unsigned(seq).ok_or_else(invalid)?,
    };
    Ok(StreamId { ms, seq })
}

/// `ms-seq` or `ms`.
pub fn strict(arg: &[u8]) -> Result<StreamId, CommandError> {
    plain(arg, 0)
}

/// The same, or `-` or `+`.
pub fn any(arg: &[u8]) -> Result<StreamId, CommandError> {
    any_with(arg, 0)
}

fn any_with(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => plain(arg, missing_seq),
    }
}

/// What XADD takes besides `*`.
pub fn new(arg: &[u8]) -> Result<NewId, CommandError> {
    match parts(arg).ok_or_else(invalid)? {
        (ms, Some(b"*")) => Ok(NewId::Within(ms)),
        _ => plain(arg, 0).map(NewId::Exactly),
    }
}

/// Where a range starts.
pub fn start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict(id)?
            .next()
            .ok_or_else(|| CommandError::err("invalid start ID for the interval")),
        _ => any_with(arg, 0),
    }
}

/// Where a range ends.
pub fn end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => plain(id, u64::MAX)?
            .previous()
            .ok_or_else(|| CommandError::err("invalid end ID for the interval")),
        _ => any_with(arg, u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_are_read_as_the_field_does() {
        assert_eq!(strict(b"12-5"), Ok(id(12, 5)));
        assert_eq!(strict(b"007"), Ok(id(7, 0)));
        assert_eq!(
            strict(b"18446744073709551615-18446744073709551615"),
            Ok(StreamId::MAX)
        );
        for bad in [
            "",
            "-",
            "+",
            "a",
            "1-",
            "1-a",
            "1--1",
            "1-2-3",
            "18446744073709551616",
        ] {
            assert!(strict(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(new(b"5-*"), Ok(NewId::Within(5)));
        assert_eq!(new(b"5"), Ok(NewId::Exactly(id(5, 0))));
        assert!(new(b"5-**").is_err());
    }

    #[test]
    fn ranges_can_leave_their_ends_out() {
        assert_eq!(start(b"(5"), Ok(id(5, 1)));
        assert_eq!(end(b"(5"), Ok(id(5, u64::MAX - 1)));
        assert_eq!(end(b"5"), Ok(id(5, u64::MAX)));
        assert_eq!(
            (start(b"-"), end(b"+")),
            (Ok(StreamId::MIN), Ok(StreamId::MAX))
        );
        assert!(start(b"(-").is_err() && start(b"(").is_err());
        let last = b"(18446744073709551615-18446744073709551615";
        assert!(start(last).is_err() && end(b"(0-0").is_err());
    }
}
