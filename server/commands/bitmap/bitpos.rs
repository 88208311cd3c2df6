//! BITPOS: where the first bit of a kind is.

use super::range::{Range, position};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub const COMMAND: Command = Command {
    name: "bitpos",
    group: Group::Bitmap,
    since: "2.8.7",
    summary: "Finds the first bit that is set, or clear, in a string or a range of it.",
    complexity: "O(N)",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::BITMAP,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::integer("bit"),
        Arg::block(
            "range",
            &[
                Arg::integer("start"),
                Arg::block(
                    "end-unit-block",
                    &[
                        Arg::integer("end"),
                        Arg::one_of(
                            "unit",
                            &[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")],
                        )
                        .optional()
                        .since("7.0.0"),
                    ],
                )
                .optional(),
            ],
        )
        .optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let bit = match args::integer(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::err("The bit argument must be 1 or 0.")),
    };
    let range = Range::parse(&args[3..])?;
    let found = match ctx.db.string(args[1])? {
        None => (!bit).then_some(0),
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string.bytes(&mut digits);
            let bits = range.bits(bytes.len());
            bits.and_then(|bits| {
                let end = bits.end;
                // Without an end, zeros go on behind the string.
                let beyond = (!bit && !range.has_end()).then_some(end);
                position(bytes, bits, bit).or(beyond)
            })
        }
    };
    ctx.reply.integer(found.map_or(-1, |at| at as i64));
    Ok(())
}
