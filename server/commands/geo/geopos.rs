//! GEOPOS: the coordinates of members.

use super::units::{place_of, put_point};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// GEOPOS key [member …]
pub const COMMAND: Command = Command {
    name: "geopos",
    group: Group::Geo,
    since: "3.2.0",
    summary: "Gives the longitude and latitude of members.",
    complexity: "O(1) for each member.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::GEO,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("member").optional().multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let index = ctx.db.zset(args[1])?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        match index.and_then(|index| place_of(index, member)) {
            None => ctx.reply.null_array(),
            Some(point) => put_point(ctx.reply, point),
        }
    }
    Ok(())
}
