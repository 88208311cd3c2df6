//! Finding a command's keys by its key specs: for locking, slot routing and
//! COMMAND GETKEYS.

use super::command::{Begin, Command, Find, KeySpec};
use crate::number::parse_i64;

/// Calls `f` with the position of each key and the spec that found it; false
/// when a spec does not fit the arguments.
pub fn each_key(
    command: &'static Command,
    args: &[&[u8]],
    mut f: impl FnMut(usize, &'static KeySpec),
) -> bool {
    if let Some(find) = command.find_keys
        && find(args, &mut |at, spec| f(at, &command.keys[spec]))
    {
        return true;
    }
    command.keys.iter().all(|spec| each_of(spec, args, &mut f))
}

/// For [`Command::find_keys`]: these are the keys, all as the first spec says; None
/// where the arguments are not the command's.
pub fn by_first_spec(
    keys: Option<std::ops::Range<usize>>,
    found: &mut dyn FnMut(usize, usize),
) -> bool {
    let fits = keys.is_some();
    keys.into_iter().flatten().for_each(|at| found(at, 0));
    fits
}

/// Positions of all keys, each once, in the order of the specs.
pub fn positions(command: &'static Command, args: &[&[u8]]) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    each_key(command, args, |at, _| {
        if !found.contains(&at) || found.len() > 64 {
            found.push(at);
        }
    })
    .then_some(found)
}

/// What a command with these arguments does to a key that `spec` has found.
/// Some commands only read, or never do, with certain arguments.
pub fn flags_of(spec: &'static KeySpec, args: &[&[u8]]) -> &'static [&'static str] {
    if !spec.flags.contains(&"variable_flags") {
        return spec.flags;
    }
    let is = |at: usize, word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
    if is(0, "SET") {
        return match (3..args.len()).any(|at| is(at, "GET")) {
            true => READS_AND_WRITES,
            false => &["OW", "update"],
        };
    }
    if is(0, "BITFIELD") && only_reads_bits(args) {
        return &["RO", "access"];
    }
    match spec.flags.first() {
        Some(&"OW") => &["OW", "update"],
        _ => READS_AND_WRITES,
    }
}

const READS_AND_WRITES: &[&str] = &["RW", "access", "update"];

/// Whether all of BITFIELD's operations are GET.
fn only_reads_bits(args: &[&[u8]]) -> bool {
    let mut at = 2;
    while at < args.len() {
        let is = |word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if is("GET") && at + 2 < args.len() => 3,
            () if is("OVERFLOW") && at + 1 < args.len() => 2,
            () => return false,
        };
    }
    true
}

fn each_of(
    spec: &'static KeySpec,
    args: &[&[u8]],
    f: &mut impl FnMut(usize, &'static KeySpec),
) -> bool {
    let Some(begin) = begin_of(spec, args) else {
        return !matches!(spec.begin, Begin::Index(_));
    };
    match spec.find {
        Find::Range { last, step, limit } => {
            let end = range_end(begin, last, limit, args.len());
            (begin..=end).step_by(step.max(1)).for_each(|at| {
                if at < args.len() {
                    f(at, spec);
                }
            });
            begin < args.len()
        }
        Find::Keynum {
            number_at,
            first,
            step,
        } => {
            let number = args.get(begin + number_at);
            let Some(number) = number.and_then(|arg| leading_number(arg)) else {
                return false;
            };
            let first = begin + first;
            if number == 0 || number > args.len() || first + (number - 1) * step >= args.len() {
                return false;
            }
            (0..number).for_each(|n| f(first + n * step, spec));
            true
        }
        Find::Unknown => true,
    }
}

/// The number that an argument begins with; what follows is the command's to complain about.
fn leading_number(arg: &[u8]) -> Option<usize> {
    let arg = arg.trim_ascii_start();
    let digits = arg.strip_prefix(b"+").unwrap_or(arg);
    let end = digits.iter().position(|byte| !byte.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether the numbers of keys that the command's specs name are written as
/// they should be. Valkey goes by the specs only then, and else by code of the
/// command's own, which tells no flags.
pub fn numbers_are_plain(command: &'static Command, args: &[&[u8]]) -> bool {
    command.keys.iter().all(|spec| match spec.find {
        Find::Keynum { number_at, .. } => {
            let number = begin_of(spec, args).and_then(|begin| args.get(begin + number_at));
            number.is_some_and(|arg| parse_i64(arg).is_some())
        }
        _ => true,
    })
}

fn begin_of(spec: &KeySpec, args: &[&[u8]]) -> Option<usize> {
    match spec.begin {
        Begin::Index(index) => (index < args.len()).then_some(index),
        Begin::Keyword(word, from) => {
            let is_word = |arg: &&[u8]| arg.eq_ignore_ascii_case(word.as_bytes());
            if from >= 0 {
                let from = from as usize;
                let found = args.get(from..)?.iter().position(is_word)?;
                Some(from + found + 1)
            } else {
                // The first argument is never such a word.
                let end = args.len().checked_sub(from.unsigned_abs() as usize)?;
                let found = args.get(2..=end)?.iter().rposition(is_word)?;
                Some(2 + found + 1)
            }
        }
        Begin::Unknown => None,
    }
}

fn range_end(begin: usize, last: i32, limit: usize, count: usize) -> usize {
    if last >= 0 {
        return begin + last as usize;
    }
    let end = count.saturating_sub(last.unsigned_abs() as usize);
    match limit {
        0 | 1 => end,
        limit => begin + (end + 1).saturating_sub(begin) / limit - 1,
    }
}
