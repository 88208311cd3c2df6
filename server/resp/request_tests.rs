//! Requests, whole, torn and wrong, against another implementation.

use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

const OPEN: RequestLimits = RequestLimits {
    max_bulk_bytes: 512 * 1024 * 1024,
    authenticated: true,
};

/// Parses one command from the whole of `bytes`.
fn parse(bytes: &[u8], limits: &RequestLimits) -> Result<(Parsed, Vec<Vec<u8>>), ProtocolError> {
    let (mut parser, mut args) = (RequestParser::new(), Vec::new());
    let parsed = parser.next(bytes, limits, &mut args)?;
    let source = match parsed {
        Parsed::Inline { .. } => parser.inline_bytes(),
        _ => bytes,
    };
    Ok((
        parsed,
        args.into_iter().map(|r| source[r].to_vec()).collect(),
    ))
}

fn error(bytes: &[u8], limits: &RequestLimits) -> String {
    parse(bytes, limits).expect_err("an error").to_string()
}

#[test]
fn a_typical_command_is_borrowed_from_the_buffer() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n";
    let (parsed, args) = parse(bytes, &OPEN).unwrap();
    assert_eq!(parsed, Parsed::Complete { consumed: 26 });
    assert_eq!(args, [&b"SET"[..], b"k", b""]);
}

#[test]
fn inline_commands_are_split_into_words() {
    let (parsed, args) = parse(b"SET \"a\\x41 b\" 'c'\r\nGET", &OPEN).unwrap();
    assert_eq!(parsed, Parsed::Inline { consumed: 19 });
    assert_eq!(args, [&b"SET"[..], b"aA b", b"c"]);
    let (parsed, args) = parse(b"\x0b ECHO a\\x41\t\xff\x0bb \r\nGET", &OPEN).unwrap();
    assert_eq!(parsed, Parsed::Words { consumed: 19 });
    assert_eq!(args, [&b"ECHO"[..], b"a\\x41", b"\xff\x0bb"]);
    let (parsed, _) = parse(b"PING\n", &OPEN).unwrap();
    assert_eq!(parsed, Parsed::Words { consumed: 5 });
}

#[test]
fn empty_lines_and_arrays_are_announced() {
    for (bytes, consumed) in [
        (&b"\r\nPING"[..], 2),
        (b"\n", 1),
        (b"  \r\n", 4),
        (b"*0\r\n*1\r\n", 4),
        (b"*-1\r\n", 5),
        (b"*-100\r\n", 7),
    ] {
        let (parsed, args) = parse(bytes, &OPEN).unwrap();
        assert_eq!((parsed, args.len()), (Parsed::Empty { consumed }, 0));
    }
}

#[test]
fn refusals_have_the_exact_texts() {
    let long = |head: &[u8]| [head, &b"1".repeat(MAX_LINE_BYTES + 1)].concat();
    for (bytes, text) in [
        (b"*a\r\n".to_vec(), "invalid multibulk length"),
        (b"*\r\n".to_vec(), "invalid multibulk length"),
        (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
        (b"*+1\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n$01\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx".to_vec(), "invalid CRLF in request"),
        (b"*1\rx$4\r\nPING\r\n".to_vec(), "invalid CRLF in request"),
        (b"*0\rx".to_vec(), "invalid CRLF in request"),
        (b"*x\rx".to_vec(), "invalid CRLF in request"),
        (b"*1\r\n$4\rxPING\r\n".to_vec(), "invalid CRLF in request"),
        (b"*1\r\n$14\rxPING".to_vec(), "invalid CRLF in request"),
        (b"*1\r\n$-1\rx".to_vec(), "invalid CRLF in request"),
        (b"*1\r\nx4\rx".to_vec(), "expected '$', got 'x'"),
        (b"*1\r\n$4\r\nPING\rx".to_vec(), "invalid CRLF in request"),
        (b"*1\r\n$0\r\n\n\n".to_vec(), "invalid CRLF in request"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n:1\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\nabc\r\n".to_vec(), "expected '$', got 'a'"),
        (long(b"*"), "too big mbulk count string"),
        (long(b"*1\r\n$"), "too big bulk count string"),
        (long(b"PING "), "too big inline request"),
        (b"\"a\r\n".to_vec(), "unbalanced quotes in request"),
    ] {
        assert_eq!(error(&bytes, &OPEN), format!("Protocol error: {text}"));
    }
}

#[test]
fn before_login_little_may_be_sent() {
    let closed = RequestLimits {
        authenticated: false,
        ..OPEN
    };
    assert!(parse(b"*10\r\n", &closed).is_ok());
    assert!(parse(b"*1\r\n$16384\r\n", &closed).is_ok());
    for (bytes, text) in [
        (&b"*11\r\n"[..], "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        assert_eq!(error(bytes, &closed), format!("Protocol error: {text}"));
    }
}

#[test]
fn a_claim_reserves_nothing_and_tells_what_is_needed() {
    let (mut parser, mut args) = (RequestParser::new(), Vec::new());
    let bytes = b"*2147483647\r\n$500000000\r\nabc";
    let parsed = parser.next(bytes, &OPEN, &mut args).unwrap();
    let needed_at_least = 25 + 500_000_000 + 2;
    assert_eq!(parsed, Parsed::Incomplete { needed_at_least });
    assert_eq!(args.capacity(), 0);
}

#[test]
fn what_has_been_read_is_not_read_again() {
    // The part that was parsed is overwritten: a parser that went back to it
    // would fail.
    let (mut parser, mut args) = (RequestParser::new(), Vec::new());
    let mut buf = b"*2\r\n$4\r\nECHO\r\n$5\r\n".to_vec();
    let parsed = parser.next(&buf, &OPEN, &mut args).unwrap();
    assert!(matches!(parsed, Parsed::Incomplete { .. }));
    let parsed_bytes = buf.len();
    buf.fill(b'!');
    buf.extend_from_slice(b"hello\r\n");
    let parsed = parser.next(&buf, &OPEN, &mut args).unwrap();
    let consumed = parsed_bytes + 7;
    assert_eq!(parsed, Parsed::Complete { consumed });
    assert_eq!(&buf[args[1].clone()], b"hello");
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Feeds `stream` in pieces and returns every command, as a connection would.
fn feed(stream: &[u8], cuts: &[usize]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
    let (mut parser, mut args) = (RequestParser::new(), Vec::new());
    let (mut start, mut commands) = (0, Vec::new());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    for end in ends {
        loop {
            let buf = &stream[start..end.max(start)];
            match parser.next(buf, &OPEN, &mut args)? {
                Parsed::Incomplete { needed_at_least } => {
                    assert!(needed_at_least > buf.len());
                    break;
                }
                Parsed::Empty { consumed } => start += consumed,
                Parsed::Complete { consumed } | Parsed::Words { consumed } => {
                    commands.push(args.drain(..).map(|r| buf[r].to_vec()).collect());
                    start += consumed;
                }
                Parsed::Inline { consumed } => {
                    let words = parser.inline_bytes();
                    commands.push(args.drain(..).map(|r| words[r].to_vec()).collect());
                    start += consumed;
                }
            }
            assert!(args.is_empty());
        }
        // Six bytes are the least that an argument takes.
        assert!(args.len() <= (end - start.min(end)) / 6);
    }
    Ok(commands)
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 1..12)
}

proptest! {
    #[test]
    fn equal_to_the_protocol_crate_under_any_split(
        commands in prop::collection::vec(command(), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let stream: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        let mut expected = Vec::new();
        let mut rest = &stream[..];
        while let Some((frame, used)) = decode(rest).unwrap() {
            let OwnedFrame::Array(items) = frame else { panic!("an array") };
            expected.push(items.into_iter().map(|item| match item {
                OwnedFrame::BulkString(bytes) => bytes,
                other => panic!("{other:?}"),
            }).collect::<Vec<_>>());
            rest = &rest[used..];
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(&expected, &commands);
        prop_assert_eq!(feed(&stream, &cuts), Ok(expected));
    }

    #[test]
    fn mutated_requests_never_panic_and_splits_change_nothing(
        commands in prop::collection::vec(command(), 1..4),
        edits in prop::collection::vec((any::<usize>(), prop::sample::select(b"*$\r\n-+019\"'\\ \0x\xff".to_vec())), 0..8),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let mut stream: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        for (at, byte) in edits {
            let at = at % stream.len();
            stream[at] = byte;
        }
        prop_assert_eq!(feed(&stream, &cuts), feed(&stream, &[]));
    }
}
