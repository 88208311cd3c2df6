//! LMOVE, RPOPLPUSH: take an element from one list, add it to another.

use smallvec::SmallVec;

use super::{end_of, note_pop, note_push, reply_element};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::Db;
use crate::keyspace::entry::ValueType;
use crate::keyspace::list::End;
use crate::keyspace::listpack::{Entry, IntBuffer};

/// The key specs of all that move an element.
pub const KEYS: &[KeySpec] = &[
    KeySpec::one(1, &["RW", "access", "delete"]),
    KeySpec::one(2, &["RW", "insert"]),
];

/// The second key, which the second key spec finds.
pub const DESTINATION: Arg = Arg::new("destination", crate::commands::command::ArgKind::Key(1));

/// LEFT or RIGHT.
pub const fn end_arg(name: &'static str) -> Arg {
    const ENDS: &[Arg] = &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")];
    Arg::one_of(name, ENDS)
}

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
pub const LMOVE: Command = Command {
    name: "lmove",
    group: Group::List,
    since: "6.2.0",
    summary: "Takes an element from one list, adds it to another and gives it.",
    complexity: "O(1)",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::LIST,
    keys: KEYS,
    args: &[
        Arg::key("source"),
        DESTINATION,
        end_arg("wherefrom"),
        end_arg("whereto"),
    ],
    run: |ctx, args| {
        let (from, to) = (end_of(args[3])?, end_of(args[4])?);
        move_or_null(ctx, args, from, to)
    },
    ..Command::BASE
};

/// RPOPLPUSH source destination
pub const RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    group: Group::List,
    since: "1.2.0",
    summary: "Takes the last element of a list, adds it at the front of another and gives it.",
    complexity: "O(1)",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::LIST,
    keys: KEYS,
    args: &[Arg::key("source"), DESTINATION],
    run: |ctx, args| move_or_null(ctx, args, End::Back, End::Front),
    ..Command::BASE
};

fn move_or_null(ctx: &mut Context<'_>, args: &[&[u8]], from: End, to: End) -> CommandResult {
    if !move_element(ctx, args[1], args[2], from, to)? {
        ctx.reply.null();
    }
    Ok(())
}

/// Moves one element and replies it; false, and no reply, when there is no
/// source.
pub fn move_element(
    ctx: &mut Context<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<bool, CommandError> {
    if !is_list(&mut ctx.db, source)? {
        return Ok(false);
    }
    is_list(&mut ctx.db, destination)?;
    let mut digits = IntBuffer::new();
    let mut copy: SmallVec<[u8; 128]> = SmallVec::new();
    let reply = &mut *ctx.reply;
    let Some(list) = ctx.db.list_mut(source)? else {
        return Ok(false);
    };
    let moved = list.pop(from, |element| {
        reply_element(reply, element);
        match element {
            Entry::Int(number) => Some(number),
            Entry::Str(bytes) => {
                copy.extend_from_slice(bytes);
                None
            }
        }
    });
    let element = match moved.flatten() {
        Some(number) => digits.format(number).as_bytes(),
        None => &copy,
    };
    let is_empty = if source == destination {
        list.push(to, element);
        false
    } else {
        let is_empty = list.is_empty();
        ctx.db.list_or_new(destination)?.push(to, element);
        is_empty
    };
    note_push(&mut ctx.db, to, destination);
    note_pop(&mut ctx.db, from, source, is_empty)?;
    Ok(true)
}

/// Whether there is a list; another type is an error.
pub fn is_list(db: &mut Db<'_>, key: &[u8]) -> Result<bool, CommandError> {
    match db.type_of(key)? {
        None => Ok(false),
        Some(ValueType::List) => Ok(true),
        Some(_) => Err(CommandError::WrongType),
    }
}
