//! GEOADD: adds members at their places, or moves them.

use super::grid::{Cell, FINEST, LATITUDE};
use super::units::point;
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::sorted_set::zadd::{Options, add_parsed};

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude
/// member …]
pub const COMMAND: Command = Command {
    name: "geoadd",
    group: Group::Geo,
    since: "3.2.0",
    summary: "Adds members with their coordinates to a geospatial index, or moves those it has.",
    complexity: "O(log(N)) for each member, N being the size of the index.",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::GEO,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")])
            .optional()
            .since("6.2.0"),
        Arg::word("change", "CH").optional().since("6.2.0"),
        Arg::block(
            "data",
            &[
                Arg::double("longitude"),
                Arg::double("latitude"),
                Arg::string("member"),
            ],
        )
        .multiple(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut options = Options::default();
    let mut at = 2;
    while let Some(&word) = args.get(at) {
        let option = match word.len() {
            2 if args::is(word, "NX") => &mut options.only_new,
            2 if args::is(word, "XX") => &mut options.only_known,
            2 if args::is(word, "CH") => &mut options.count_changed,
            _ => break,
        };
        *option = true;
        at += 1;
    }
    let (places, rest) = args[at..].as_chunks::<3>();
    if !rest.is_empty() || (options.only_new && options.only_known) {
        return Err(CommandError::Syntax);
    }
    let mut scores = Vec::with_capacity(places.len());
    let mut pairs: Vec<&[u8]> = Vec::with_capacity(2 * places.len());
    for &[longitude, latitude, member] in places {
        let cell = Cell::of(point(longitude, latitude)?, LATITUDE, FINEST);
        scores.push(cell.bits as f64);
        pairs.extend([longitude, member]);
    }
    if places.is_empty() {
        return Err(CommandError::Syntax);
    }
    add_parsed(ctx, args[1], &scores, &pairs, options)
}
