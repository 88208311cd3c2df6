//! Reading a collection piece by piece with a cursor: what HSCAN and SSCAN
//! have in common.

use super::args;
use super::error::{CommandError, CommandResult};
use crate::glob::{self, Case};
use crate::number;
use crate::resp::reply::ReplyBuffer;

/// Pieces of a table that are visited for each element asked for, at most.
const PIECES_PER_ELEMENT: u64 = 10;

/// The options of a scan.
pub struct ScanOptions<'a> {
    /// The pattern of the elements to show; None for all.
    pattern: Option<&'a [u8]>,
    /// About how many elements to look at.
    count: u64,
    /// Whether values are left out.
    pub names_only: bool,
}

/// Refuses the words that leave values out, where there are none.
pub fn refuse_of_others(word: &[u8]) -> CommandResult {
    let text = match word {
        word if args::is(word, "NOVALUES") => "NOVALUES option can only be used in HSCAN",
        word if args::is(word, "NOSCORES") => "NOSCORES option can only be used in ZSCAN",
        _ => return Ok(()),
    };
    Err(CommandError::err(text))
}

impl<'a> ScanOptions<'a> {
    /// Reads the options behind key and cursor; `names_only` is the word that
    /// leaves values out, if the command knows one.
    pub fn parse(args: &[&'a [u8]], names_only: Option<&str>) -> Result<Self, CommandError> {
        let mut options = ScanOptions {
            pattern: None,
            count: 10,
            names_only: false,
        };
        let mut words = args.iter().copied();
        while let Some(word) = words.next() {
            if names_only.is_some_and(|known| args::is(word, known)) {
                options.names_only = true;
                continue;
            }
            refuse_of_others(word)?;
            let value = words.next().ok_or(CommandError::Syntax)?;
            if args::is(word, "COUNT") {
                options.count = match args::integer(value)? {
                    count @ 1.. => count as u64,
                    _ => return Err(CommandError::Syntax),
                };
            } else if args::is(word, "MATCH") {
                options.pattern = (value != b"*").then_some(value);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether an element is to be shown.
    pub fn shows(&self, name: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    }
}

/// A cursor argument: an integer that is not negative, or else what C's
/// `strtoul` reads, which lets blanks, a sign and leading zeros through.
pub fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::err("invalid cursor");
    if let Some(value) = number::parse_i64(arg) {
        return u64::try_from(value).map_err(|_| invalid());
    }
    let (negative, digits) = match arg.trim_ascii_start() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let value = match &digits[zeros..] {
        [] if zeros > 0 => 0,
        significant => number::parse_u64(significant).ok_or_else(invalid)?,
    };
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// Replies to a scan of a key that isn't there.
pub fn reply_nothing(reply: &mut ReplyBuffer) {
    reply.array(2);
    reply.bulk(b"0");
    reply.array(0);
}

/// Goes on from `cursor` until enough elements were visited, and replies.
/// `piece` visits one piece: it encodes what is to be shown, adds how many
/// replies that were and how many elements it saw to its counts, and returns
/// the next cursor.
pub fn run(
    reply: &mut ReplyBuffer,
    cursor: u64,
    options: &ScanOptions<'_>,
    mut piece: impl FnMut(u64, &mut Piece) -> u64,
) {
    let mut found = Piece {
        replies: ReplyBuffer::new(reply.protocol),
        shown: 0,
        seen: 0,
    };
    let mut cursor = cursor;
    let mut pieces_left = options.count.saturating_mul(PIECES_PER_ELEMENT);
    loop {
        cursor = piece(cursor, &mut found);
        pieces_left -= 1;
        if cursor == 0 || pieces_left == 0 || found.seen >= options.count {
            break;
        }
    }
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    reply.array(found.shown);
    reply.raw(&found.replies.buf);
}

/// What a scan has found.
pub struct Piece {
    /// The encoded elements.
    pub replies: ReplyBuffer,
    /// How many replies these are.
    pub shown: usize,
    /// How many elements were looked at.
    pub seen: u64,
}
