//! LCS: the longest common subsequence of two strings.

use std::sync::atomic::Ordering;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::DbError;
use crate::resp::reply::ReplyBuffer;

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]
pub const COMMAND: Command = Command {
    name: "lcs",
    group: Group::String,
    since: "7.0.0",
    summary: "Finds the longest common subsequence of two strings.",
    complexity: "O(N*M) where N and M are the lengths of the strings.",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::STRING,
    keys: &[KeySpec::range(1, 1, 1, &["RO", "access"])],
    args: &[
        Arg::key("key1"),
        Arg::key("key2"),
        Arg::word("len", "LEN").optional(),
        Arg::word("idx", "IDX").optional(),
        Arg::integer("min-match-len")
            .after("MINMATCHLEN")
            .optional(),
        Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
    ],
    run,
    ..Command::BASE
};

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    min_match_len: i64,
    with_match_len: bool,
}

fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut words = args[3..].iter();
    while let Some(word) = words.next() {
        if args::is(word, "IDX") {
            options.idx = true;
        } else if args::is(word, "LEN") {
            options.len = true;
        } else if args::is(word, "WITHMATCHLEN") {
            options.with_match_len = true;
        } else if args::is(word, "MINMATCHLEN") {
            let length = words.next().ok_or(CommandError::Syntax)?;
            options.min_match_len = args::integer(length)?.max(0);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.len && options.idx {
        let text = "If you want both the length and indexes, please just use IDX.";
        return Err(CommandError::err(text));
    }
    Ok(options)
}

fn string(ctx: &mut Context<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    match ctx.db.string(key) {
        Ok(string) => Ok(string.map_or_else(Vec::new, |string| string.to_vec())),
        Err(DbError::WrongType) => Err(CommandError::err(
            "The specified keys must contain string values",
        )),
        Err(error) => Err(error.into()),
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let a = string(ctx, args[1])?;
    let b = string(ctx, args[2])?;
    let options = parse(args)?;
    let limit = ctx
        .server
        .settings
        .proto_max_bulk_len
        .load(Ordering::Relaxed);
    let lengths = Lengths::new(&a, &b, limit.max(0) as u64)?;
    if options.len {
        ctx.reply.integer(i64::from(lengths.of(a.len(), b.len())));
        return Ok(());
    }
    let matches = lengths.matches(&a, &b);
    if options.idx {
        reply_matches(ctx.reply, &matches, &options, lengths.of(a.len(), b.len()));
        return Ok(());
    }
    let mut common = Vec::with_capacity(lengths.of(a.len(), b.len()) as usize);
    for found in matches.iter().rev() {
        common.extend_from_slice(&a[found.in_a..found.in_a + found.len]);
    }
    ctx.reply.bulk(&common);
    Ok(())
}

fn reply_matches(reply: &mut ReplyBuffer, matches: &[Match], options: &Options, total: u32) {
    let long_enough = |found: &&Match| found.len as i64 >= options.min_match_len;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(long_enough).count());
    for found in matches.iter().filter(long_enough) {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [found.in_a, found.in_b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + found.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(found.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(total));
}

/// A run of bytes that both strings have and the subsequence consists of.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Match {
    in_a: usize,
    in_b: usize,
    len: usize,
}

/// Fills a row of the table, of the prefix that ends with `byte`, from the one
/// above. Where two bytes are equal, one more than before them is never less
/// than what the neighbours have, so that no cell needs a branch.
fn fill_row(above: &[u32], below: &mut [u32], byte: u8, b: &[u8]) {
    let (mut diagonal, mut left) = (0, 0);
    for ((other, up), cell) in b.iter().zip(&above[1..]).zip(&mut below[1..]) {
        left = (*up).max(left).max(diagonal + u32::from(byte == *other));
        diagonal = *up;
        *cell = left;
    }
}

/// The lengths of the longest common subsequences of all pairs of prefixes.
struct Lengths {
    table: Vec<u32>,
    row: usize,
}

impl Lengths {
    /// Fills the table, which may take up to `limit_bytes`.
    fn new(a: &[u8], b: &[u8], limit_bytes: u64) -> Result<Lengths, CommandError> {
        let row = b.len() + 1;
        let cells = (a.len() as u64 + 1).checked_mul(row as u64);
        let cells = cells
            .filter(|cells| {
                cells
                    .checked_mul(4)
                    .is_some_and(|bytes| bytes <= limit_bytes)
            })
            .ok_or_else(|| {
                CommandError::err(
                    "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
                )
            })?;
        let mut table = vec![0_u32; cells as usize];
        for (i, byte) in a.iter().enumerate() {
            let (above, below) = table[i * row..(i + 2) * row].split_at_mut(row);
            fill_row(above, below, *byte, b);
        }
        Ok(Lengths { table, row })
    }

    /// The length for the first `i` bytes of one and `j` of the other.
    fn of(&self, i: usize, j: usize) -> u32 {
        self.table[i * self.row + j]
    }

    /// The runs that make up the subsequence, from the end to the beginning.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match matches.last_mut() {
                    Some(last) if last.in_a == i && last.in_b == j => {
                        last.in_a -= 1;
                        last.in_b -= 1;
                        last.len += 1;
                    }
                    _ => matches.push(Match {
                        in_a: i - 1,
                        in_b: j - 1,
                        len: 1,
                    }),
                }
                i -= 1;
                j -= 1;
            } else if self.of(i - 1, j) > self.of(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::{Lengths, Match};

    #[test]
    fn runs_are_found_from_the_end() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let lengths = Lengths::new(a, b, 1 << 20).unwrap();
        assert_eq!(lengths.of(a.len(), b.len()), 6);
        let run = |in_a, in_b, len| Match { in_a, in_b, len };
        assert_eq!(lengths.matches(a, b), [run(4, 5, 4), run(2, 0, 2)]);
    }

    #[test]
    fn every_cell_is_as_defined() {
        for _ in 0..50 {
            let text = || -> Vec<u8> {
                let length = fastrand::usize(..30);
                (0..length).map(|_| fastrand::u8(b'a'..=b'c')).collect()
            };
            let (a, b) = (text(), text());
            let lengths = Lengths::new(&a, &b, 1 << 20).unwrap();
            for (i, j) in (0..=a.len()).flat_map(|i| (0..=b.len()).map(move |j| (i, j))) {
                let expected = match (i, j) {
                    (0, _) | (_, 0) => 0,
                    _ if a[i - 1] == b[j - 1] => lengths.of(i - 1, j - 1) + 1,
                    _ => lengths.of(i - 1, j).max(lengths.of(i, j - 1)),
                };
                assert_eq!(lengths.of(i, j), expected, "{a:?} {b:?} at {i}, {j}");
            }
        }
    }

    #[test]
    fn a_table_beyond_the_limit_is_refused() {
        assert!(Lengths::new(b"ab", b"ab", 36).is_ok());
        assert!(Lengths::new(b"ab", b"ab", 35).is_err());
    }
}
