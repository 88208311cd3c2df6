//! SMOVE: moves a member from one set to another.

use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::entry::ValueType;
use crate::keyspace::recorder::class;

/// SMOVE source destination member
pub const COMMAND: Command = Command {
    name: "smove",
    group: Group::Set,
    since: "1.0.0",
    summary: "Moves a member from one set to another.",
    arity: 4,
    flags: flag::WRITE | flag::FAST,
    acl: acl::SET,
    keys: &[
        KeySpec::one(1, &["RW", "access", "delete"]),
        KeySpec::one(2, &["RW", "insert"]),
    ],
    args: &[
        Arg::key("source"),
        Arg::new("destination", ArgKind::Key(1)),
        Arg::string("member"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (source, destination, member) = (args[1], args[2], args[3]);
    let Some(source_type) = ctx.db.type_of(source)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let destination_type = ctx.db.type_of(destination)?.unwrap_or(source_type);
    if [source_type, destination_type] != [ValueType::Set; 2] {
        return Err(CommandError::WrongType);
    }
    let moved = match ctx.db.set_mut(source)? {
        None => false,
        Some(set) if source == destination => set.contains(member),
        Some(set) => set.remove(member),
    };
    ctx.reply.integer(i64::from(moved));
    if !moved || source == destination {
        return Ok(());
    }
    ctx.db.changed(class::SET, "srem", source);
    if ctx.db.remove_if_empty(source)? {
        ctx.db.changed(class::GENERIC, "del", source);
    }
    if ctx.db.set_or_new(destination)?.add(member) {
        ctx.db.changed(class::SET, "sadd", destination);
    }
    Ok(())
}
