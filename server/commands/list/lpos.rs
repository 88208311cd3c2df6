//! LPOS: where elements of a value are.

use super::lrem::symmetric;
use crate::commands::args::{integer_between, is};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::list::{Direction, List};
use crate::keyspace::listpack::Needle;

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub const COMMAND: Command = Command {
    name: "lpos",
    group: Group::List,
    since: "6.0.6",
    summary: "Gives the indexes of elements equal to a value.",
    complexity: "O(N), when N is the number of elements compared",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::LIST,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::string("element"),
        Arg::integer("rank").after("RANK").optional(),
        Arg::integer("num-matches").after("COUNT").optional(),
        Arg::integer("len").after("MAXLEN").optional(),
    ],
    run,
    ..Command::BASE
};

struct Options {
    /// Matches to pass over before the first that counts.
    skipped: u64,
    direction: Direction,
    /// How many matches are wanted, 0 for all; None when COUNT isn't given.
    count: Option<i64>,
    /// How many elements are compared, 0 for all.
    max_len: i64,
}

fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options {
        skipped: 0,
        direction: Direction::Forward,
        count: None,
        max_len: 0,
    };
    for pair in args.chunks(2) {
        let &[word, value] = pair else {
            return Err(CommandError::Syntax);
        };
        if is(word, "rank") {
            let rank = symmetric(value)?;
            if rank == 0 {
                return Err(CommandError::err(
                    "RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
            options.skipped = rank.unsigned_abs() - 1;
            options.direction = match rank < 0 {
                true => Direction::Reverse,
                false => Direction::Forward,
            };
        } else if is(word, "count") {
            let count = integer_between(value, 0..=i64::MAX, "COUNT can't be negative")?;
            options.count = Some(count);
        } else if is(word, "maxlen") {
            options.max_len = integer_between(value, 0..=i64::MAX, "MAXLEN can't be negative")?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(&args[3..])?;
    let Some(list) = ctx.db.list(args[1])? else {
        match options.count {
            Some(_) => ctx.reply.array(0),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let mut found = matches(list, args[2], &options);
    let Some(count) = options.count else {
        match found.next() {
            Some(index) => ctx.reply.integer(index as i64),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let most = match count {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let array = ctx.reply.defer();
    let mut len = 0;
    for index in found.take(most) {
        ctx.reply.integer(index as i64);
        len += 1;
    }
    ctx.reply.finish_array(array, len);
    Ok(())
}

/// The indexes of the matches that count, in the order of the search.
fn matches<'a>(
    list: &'a List,
    element: &'a [u8],
    options: &Options,
) -> impl Iterator<Item = usize> + 'a {
    let needle = Needle::new(element);
    let direction = options.direction;
    let last = list.len().saturating_sub(1);
    let first = match direction {
        Direction::Forward => 0,
        Direction::Reverse => last,
    };
    let compared = match options.max_len {
        0 => usize::MAX,
        len => usize::try_from(len).unwrap_or(usize::MAX),
    };
    list.iter_from(first, direction)
        .take(compared)
        .enumerate()
        .filter(move |(_, entry)| needle.matches(*entry))
        .skip(usize::try_from(options.skipped).unwrap_or(usize::MAX))
        .map(move |(step, _)| match direction {
            Direction::Forward => step,
            Direction::Reverse => last - step,
        })
}
