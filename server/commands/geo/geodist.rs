//! GEODIST: how far two members are apart.

use super::shape::distance_m;
use super::units::{UNIT, place_of, put_distance, unit_m};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// GEODIST key member1 member2 [M | KM | FT | MI]
pub const COMMAND: Command = Command {
    name: "geodist",
    group: Group::Geo,
    since: "3.2.0",
    summary: "Tells how far two members of a geospatial index are apart.",
    arity: -4,
    flags: flag::READONLY,
    acl: acl::GEO,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::string("member1"),
        Arg::string("member2"),
        UNIT.optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let unit_m = match args {
        [_, _, _, _] => 1.0,
        [_, _, _, _, unit] => unit_m(unit)?,
        _ => return Err(CommandError::Syntax),
    };
    let places = ctx.db.zset(args[1])?.and_then(|index| {
        let first = place_of(index, args[2])?;
        Some((first, place_of(index, args[3])?))
    });
    match places {
        None => ctx.reply.null(),
        Some((a, b)) => put_distance(ctx.reply, distance_m(a, b) / unit_m),
    }
    Ok(())
}
