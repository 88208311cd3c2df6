//! The request parser: the same commands, and the same error, however the bytes arrive.

use std::ops::Range;

use redoubt_server::resp::request::{Parsed, ProtocolError, RequestLimits, RequestParser};

use crate::campaign::Target;
use crate::mutator::Random;

/// Commands that were whole, and what ended the connection.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// A pipeline of whatever a client may send.
pub fn target() -> Target {
    let corpus: [&[u8]; 10] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-1\r\n",
        b"*12\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n\
          $1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n",
        b"*2\r\n$4\r\nECHO\r\n$100\r\n0123456789012345678901234567890123456789012345678901234567890\
          123456789012345678901234567890123456789\r\n",
        b"PING\r\nSET key \"a \\x00\\\"value\\\"\" 'it''s'\r\n\r\nGET 'key'\n",
        b"SET key 'it\\'s'\r\n*1\r\n$4\r\nPING\r\nQUIT\r\n",
        b"*3\r\n$6\r\nAPPEND\r\n$3\r\nkey\r\n$2147483647\r\nx",
        b"*1048576\r\n$1\r\nx\r\n$1\r\ny\r\n",
        b"*1\r\n$0000000004\r\nPING\r\n",
    ];
    Target {
        name: "requests",
        corpus: corpus.map(<[u8]>::to_vec).to_vec(),
        max_input_bytes: 4096,
        // Bounded by the bytes received, never by a client's claim.
        max_memory_bytes: 1 << 20,
        run: Box::new(same_in_pieces_as_at_once),
    }
}

fn same_in_pieces_as_at_once(input: &[u8], choice: u64) {
    let mut random = Random::new(choice);
    let limits = RequestLimits {
        max_bulk_bytes: *random.choose(&[512 << 20, 64, i64::MAX]),
        authenticated: random.below(4) > 0,
    };
    let at_once = parse(input, &limits, |_| input.len());
    let in_pieces = parse(input, &limits, |_| 1 + random.below(7));
    assert_eq!(at_once, in_pieces);
}

/// Feeds the parser; `step` says how many bytes arrive at a time.
fn parse(input: &[u8], limits: &RequestLimits, mut step: impl FnMut(usize) -> usize) -> Outcome {
    let mut parser = RequestParser::new();
    let mut args: Vec<Range<usize>> = Vec::new();
    let mut commands = Vec::new();
    let (mut consumed_to, mut received) = (0, 0);
    while received < input.len() {
        received = (received + step(received)).min(input.len());
        loop {
            let unread = &input[consumed_to..received];
            let words = |bytes: &[u8], args: &[Range<usize>]| {
                let word = |range: &Range<usize>| bytes[range.clone()].to_vec();
                args.iter().map(word).collect::<Vec<_>>()
            };
            let consumed = match parser.next(unread, limits, &mut args) {
                Ok(Parsed::Complete { consumed } | Parsed::Words { consumed }) => {
                    commands.push(words(unread, &args));
                    consumed
                }
                Ok(Parsed::Inline { consumed }) => {
                    commands.push(words(parser.inline_bytes(), &args));
                    consumed
                }
                Ok(Parsed::Empty { consumed }) => consumed,
                Ok(Parsed::Incomplete { needed_at_least }) => {
                    assert!(needed_at_least > unread.len());
                    break;
                }
                Err(error) => return (commands, Some(error)),
            };
            assert!(0 < consumed && consumed <= unread.len());
            assert!(!parser.is_mid_command());
            consumed_to += consumed;
            args.clear();
        }
    }
    (commands, None)
}
