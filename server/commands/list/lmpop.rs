//! LMPOP: takes elements from the first list that there is.

use super::lmove::end_arg;
use super::{end_of, note_pop, pop_name, take_many};
use crate::commands::args::{integer_between, is};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandError;
use crate::keyspace::list::End;

/// The syntax behind LMPOP's name and BLMPOP's timeout.
pub const NUMKEYS: Arg = Arg::integer("numkeys");
/// See [`NUMKEYS`].
pub const KEYS: Arg = Arg::key("key").multiple();
/// See [`NUMKEYS`].
pub const WHERE: Arg = end_arg("where");
/// See [`NUMKEYS`].
pub const COUNT: Arg = Arg::integer("count").after("COUNT").optional();

/// LMPOP numkeys key [key …] LEFT|RIGHT [COUNT count]
pub const COMMAND: Command = Command {
    name: "lmpop",
    group: Group::List,
    since: "7.0.0",
    summary: "Takes elements from the first of several lists that has any.",
    complexity: "O(N+M), when N is the number of keys and M the number of elements taken",
    arity: -4,
    flags: flag::WRITE | flag::MOVABLEKEYS,
    acl: acl::LIST,
    keys: &[KeySpec::keynum(1, &["RW", "access", "delete"])],
    args: &[NUMKEYS, KEYS, WHERE, COUNT],
    run: |ctx, args| {
        let wanted = parse(&args[1..])?;
        if !take_first(ctx, &wanted)? {
            ctx.reply.null_array();
        }
        Ok(())
    },
    ..Command::BASE
};

/// What LMPOP or BLMPOP asks for.
pub struct Wanted<'a> {
    /// Where to look, in this order.
    pub keys: &'a [&'a [u8]],
    /// The end to take from.
    pub end: End,
    /// How many to take at most.
    pub count: i64,
}

/// Parses `numkeys key [key …] LEFT|RIGHT [COUNT count]`.
pub fn parse<'a>(args: &'a [&'a [u8]]) -> Result<Wanted<'a>, CommandError> {
    let text = "numkeys should be greater than 0";
    let numkeys = integer_between(args[0], 1..=i64::MAX, text)?;
    let numkeys = usize::try_from(numkeys).unwrap_or(usize::MAX);
    let behind = numkeys.saturating_add(1);
    let end = end_of(args.get(behind).ok_or(CommandError::Syntax)?)?;
    let count = match &args[behind + 1..] {
        [] => 1,
        [word, count, more @ ..] if is(word, "count") => {
            // The number is looked at before what is behind it.
            let text = "count should be greater than 0";
            let count = integer_between(count, 1..=i64::MAX, text)?;
            if !more.is_empty() {
                return Err(CommandError::Syntax);
            }
            count
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok(Wanted {
        keys: &args[1..behind],
        end,
        count,
    })
}

/// Takes from the first list there is and replies its key and elements;
/// false, and no reply, when there is none.
pub fn take_first(ctx: &mut Context<'_>, wanted: &Wanted<'_>) -> Result<bool, CommandError> {
    for key in wanted.keys {
        let Some(list) = ctx.db.list_mut(key)? else {
            continue;
        };
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        let taken = take_many(list, wanted.end, wanted.count, ctx.reply);
        let is_empty = list.is_empty();
        ctx.db.recorder.dirty += taken.saturating_sub(1) as u64;
        let mut digits = itoa::Buffer::new();
        let taken = digits.format(taken).as_bytes();
        ctx.effects.add(&[pop_name(wanted.end), key, taken]);
        note_pop(&mut ctx.db, wanted.end, key, is_empty)?;
        return Ok(true);
    }
    Ok(false)
}
