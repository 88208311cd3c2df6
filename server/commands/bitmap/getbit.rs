//! GETBIT: one bit of a string.

use super::{bit_at, bit_offset};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// GETBIT key offset
pub const COMMAND: Command = Command {
    name: "getbit",
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "Returns one bit of a string, 0 beyond its end.",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::BITMAP,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::integer("offset")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let offset = bit_offset(ctx, args[2], None)?;
    let bit = match ctx.db.string(args[1])? {
        None => false,
        Some(string) => bit_at(string.bytes(&mut itoa::Buffer::new()), offset),
    };
    ctx.reply.integer(i64::from(bit));
    Ok(())
}
