//! GEOHASH: places in the textual geohash that others use.

use super::grid::{Cell, FINEST, WHOLE_LATITUDE};
use super::units::place_of;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// The digits of base 32 in geohashes.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// GEOHASH key [member …]
pub const COMMAND: Command = Command {
    name: "geohash",
    group: Group::Geo,
    since: "3.2.0",
    summary: "Gives the places of members as geohash strings.",
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
            None => ctx.reply.null(),
            Some(point) => {
                // A geohash counts latitudes from pole to pole.
                let cell = Cell::of(point, WHOLE_LATITUDE, FINEST);
                ctx.reply.bulk(&text_of(cell));
            }
        }
    }
    Ok(())
}

/// Eleven digits; 52 bits fill ten, the last is 0.
fn text_of(cell: Cell) -> [u8; 11] {
    std::array::from_fn(|at| {
        let digit = match at {
            10 => 0,
            _ => cell.bits >> (52 - 5 * (at + 1)) & 0x1F,
        };
        DIGITS[digit as usize]
    })
}
