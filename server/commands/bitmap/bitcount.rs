//! BITCOUNT: how many bits of a string are set.

use super::range::{Range, count_ones};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// BITCOUNT key [start [end [BYTE | BIT]]]
pub const COMMAND: Command = Command {
    name: "bitcount",
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "Counts the bits that are set in a string or a range of it.",
    complexity: "O(N)",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::BITMAP,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
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
    let range = Range::parse(&args[2..])?;
    let count = match ctx.db.string(args[1])? {
        None => 0,
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string.bytes(&mut digits);
            match range.bits(bytes.len()) {
                Some(bits) if !range.is_reversed() => count_ones(bytes, bits),
                _ => 0,
            }
        }
    };
    ctx.reply.integer(count as i64);
    Ok(())
}
