//! Ranges of ranks, scores and members, as arguments give them.

use std::ops::Range;

use crate::commands::args;
use crate::commands::error::CommandError;
use crate::keyspace::zset::{LexBound, ScoreRange, ZSet};
use crate::number::parse_f64_clamped;

/// A range of members of a sorted set.
#[derive(Clone, Copy, Debug)]
pub enum Bounds<'a> {
    /// First and last rank; negative ones count from the end.
    Rank(i64, i64),
    /// Scores.
    Score(ScoreRange),
    /// Members, where all scores are equal.
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Bounds<'a> {
    /// `start stop`
    pub fn rank(start: &[u8], stop: &[u8]) -> Result<Self, CommandError> {
        Ok(Bounds::Rank(args::integer(start)?, args::integer(stop)?))
    }

    /// `min max`, each perhaps with a `(` before it.
    pub fn score(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        let parse = |arg| score_bound(arg).ok_or(CommandError::err("min or max is not a float"));
        let ((min, min_exclusive), (max, max_exclusive)) = (parse(min)?, parse(max)?);
        Ok(Bounds::Score(ScoreRange {
            min,
            min_exclusive,
            max,
            max_exclusive,
        }))
    }

    /// `min max`, each `-`, `+`, or a member with `[` or `(` before it.
    pub fn lex(min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        let parse =
            |arg| lex_bound(arg).ok_or(CommandError::err("min or max not valid string range item"));
        Ok(Bounds::Lex(parse(min)?, parse(max)?))
    }

    /// The ranks in `zset` that these bounds enclose. With `reverse`, ranks
    /// are counted from the highest score.
    pub fn ranks(&self, zset: &ZSet, reverse: bool) -> Range<usize> {
        match *self {
            Bounds::Rank(start, stop) => ranks_between(start, stop, zset.len(), reverse),
            Bounds::Score(range) => zset.ranks_by_score(&range),
            Bounds::Lex(min, max) => zset.ranks_by_lex(min, max),
        }
    }
}

fn score_bound(arg: &[u8]) -> Option<(f64, bool)> {
    let (number, exclusive) = match arg {
        [b'(', number @ ..] => (number, true),
        number => (number, false),
    };
    // The field reads up to a zero byte here, and no digits as zero; and a
    // number beyond the type is as good a bound as the type's own.
    let number = number.split(|&byte| byte == 0).next().unwrap_or_default();
    if number.is_empty() {
        return Some((0.0, exclusive));
    }
    Some((parse_f64_clamped(number)?, exclusive))
}

fn lex_bound(arg: &[u8]) -> Option<LexBound<'_>> {
    match arg {
        b"-" => Some(LexBound::Lowest),
        b"+" => Some(LexBound::Highest),
        [b'[', member @ ..] => Some(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Some(LexBound::Exclusive(member)),
        _ => None,
    }
}

fn ranks_between(start: i64, stop: i64, len: usize, reverse: bool) -> Range<usize> {
    let count = len as i64;
    let from_start = |rank: i64| if rank < 0 { rank + count } else { rank };
    let first = from_start(start).max(0);
    let end = from_start(stop).min(count - 1) + 1;
    if first >= end {
        return 0..0;
    }
    if reverse {
        (count - end) as usize..(count - first) as usize
    } else {
        first as usize..end as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_either_end_and_never_leave_the_set() {
        assert_eq!(ranks_between(0, -1, 5, false), 0..5);
        assert_eq!(ranks_between(1, 2, 5, false), 1..3);
        assert_eq!(ranks_between(0, 1, 5, true), 3..5);
        assert_eq!(ranks_between(-2, 100, 5, false), 3..5);
        assert_eq!(ranks_between(-2, 100, 5, true), 0..2);
        assert_eq!(ranks_between(-100, 0, 5, false), 0..1);
        assert!(ranks_between(3, 1, 5, false).is_empty());
        assert!(ranks_between(5, 9, 5, true).is_empty());
        assert!(ranks_between(i64::MIN, i64::MIN, 5, false).is_empty());
        assert!(ranks_between(i64::MAX, i64::MAX, 5, false).is_empty());
        assert!(ranks_between(0, -1, 0, false).is_empty());
    }

    #[test]
    fn an_end_of_a_score_range_is_a_number_that_may_be_left_out() {
        assert_eq!(score_bound(b"(1.5"), Some((1.5, true)));
        assert_eq!(score_bound(b"-inf"), Some((f64::NEG_INFINITY, false)));
        assert_eq!(score_bound(b"nan"), None);
        assert_eq!(score_bound(b"(("), None);
    }
}
