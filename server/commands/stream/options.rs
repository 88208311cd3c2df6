//! The options that XADD and XTRIM share.

use super::ids::{self, NewId};
use crate::commands::args::{integer, is};
use crate::commands::command::Arg;
use crate::commands::error::CommandError;
use crate::keyspace::limits::LIMITS;
use crate::keyspace::stream::{Exactness, StreamId, Trim};
use std::sync::atomic::Ordering::Relaxed;

/// `[MAXLEN | MINID] [= | ~] threshold [LIMIT count]`
pub const TRIM_ARGS: &[Arg] = &[
    Arg::one_of(
        "strategy",
        &[
            Arg::word("maxlen", "MAXLEN"),
            Arg::word("minid", "MINID").since("6.2.0"),
        ],
    ),
    Arg::one_of(
        "operator",
        &[Arg::word("equal", "="), Arg::word("approximately", "~")],
    )
    .optional(),
    Arg::string("threshold"),
    Arg::integer("count")
        .after("LIMIT")
        .optional()
        .since("6.2.0"),
];

/// What is to be taken away, and how exactly.
#[derive(Clone, Copy, Debug)]
pub struct Trimming {
    /// What.
    pub trim: Trim,
    /// How exactly.
    pub exactness: Exactness,
}

/// XADD's options and id, or XTRIM's options.
pub struct Options {
    /// NOMKSTREAM was given.
    pub no_make: bool,
    /// What is to be trimmed, if anything.
    pub trimming: Option<Trimming>,
    /// The new entry's id; meaningless to XTRIM.
    pub id: NewId,
    /// Position of the id.
    pub id_at: usize,
}

#[derive(Default)]
struct Parsed {
    no_make: bool,
    trim: Option<(Trim, bool)>,
    limit: Option<i64>,
    id: Option<NewId>,
    id_at: usize,
}

/// Reads the options from the third argument on. `obey`: the command comes
/// from the log or a primary, where a limit has had its effect already.
pub fn parse(args: &[&[u8]], is_add: bool, obey: bool) -> Result<Options, CommandError> {
    let parsed = read(args, is_add)?;
    if parsed.limit.is_some_and(|limit| limit != 0) && parsed.trim.is_none() {
        return Err(CommandError::err(
            "syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !is_add && parsed.trim.is_none() {
        return Err(CommandError::err(
            "syntax error, XTRIM must be called with a trimming strategy",
        ));
    }
    let approximate = parsed.trim.is_some_and(|(_, approximate)| approximate);
    if parsed.limit.is_some() && !approximate && !obey {
        return Err(CommandError::err(
            "syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    let limit = match parsed.limit {
        _ if obey => 0,
        Some(limit) => limit as u64,
        None => usual_limit(),
    };
    Ok(Options {
        no_make: parsed.no_make,
        trimming: parsed.trim.map(|(trim, approximate)| Trimming {
            trim,
            exactness: match approximate {
                true => Exactness::Nodes { limit },
                false => Exactness::Exact,
            },
        }),
        id: parsed.id.unwrap_or(NewId::Auto),
        id_at: parsed.id_at,
    })
}

/// The most entries that an approximate trim takes away unless told: a hundred
/// nodes.
fn usual_limit() -> u64 {
    match LIMITS.stream_node_max_entries.load(Relaxed) as u64 {
        0 => 10_000,
        entries => entries.saturating_mul(100).min(1_000_000),
    }
}

fn read(args: &[&[u8]], is_add: bool) -> Result<Parsed, CommandError> {
    let mut parsed = Parsed {
        id_at: args.len(),
        ..Parsed::default()
    };
    let mut at = 2;
    while let Some(&word) = args.get(at) {
        let has_more = at + 1 < args.len();
        if is_add && word == b"*" {
            parsed.id_at = at;
            break;
        } else if is(word, "maxlen") && has_more {
            at = threshold(args, at, &mut parsed, max_len)?;
        } else if is(word, "minid") && has_more {
            at = threshold(args, at, &mut parsed, |arg| {
                ids::strict(arg).map(Trim::MinId)
            })?;
        } else if is(word, "limit") && has_more {
            let limit = integer(args[at + 1])?;
            if limit < 0 {
                return Err(CommandError::err("The LIMIT argument must be >= 0."));
            }
            parsed.limit = Some(limit);
            at += 1;
        } else if is_add && is(word, "nomkstream") {
            parsed.no_make = true;
        } else if is_add {
            parsed.id = Some(ids::new(word)?);
            parsed.id_at = at;
            break;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    Ok(parsed)
}

fn max_len(arg: &[u8]) -> Result<Trim, CommandError> {
    match u64::try_from(integer(arg)?) {
        Ok(max) => Ok(Trim::MaxLen(max)),
        Err(_) => Err(CommandError::err("The MAXLEN argument must be >= 0.")),
    }
}

/// Reads `[= | ~] threshold` behind the word at `at`; where the threshold is.
fn threshold(
    args: &[&[u8]],
    at: usize,
    parsed: &mut Parsed,
    read: impl Fn(&[u8]) -> Result<Trim, CommandError>,
) -> Result<usize, CommandError> {
    if parsed.trim.is_some() {
        return Err(CommandError::err(
            "syntax error, MAXLEN and MINID options at the same time are not compatible",
        ));
    }
    let operator = match args.get(at + 1) {
        Some(word @ (&b"~" | &b"=")) if at + 2 < args.len() => Some(*word),
        _ => None,
    };
    let at = at + 1 + usize::from(operator.is_some());
    parsed.trim = Some((read(args[at])?, operator == Some(b"~")));
    Ok(at)
}

/// The smallest id that can be given.
pub const ZERO: NewId = NewId::Exactly(StreamId::MIN);
