//! SETBIT: sets or clears one bit of a string.

use super::{bit_at, bit_offset};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// SETBIT key offset value
pub const COMMAND: Command = Command {
    name: "setbit",
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "Sets or clears one bit of a string and returns what it was.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::BITMAP,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[
        Arg::key("key"),
        Arg::integer("offset"),
        Arg::integer("value"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let offset = bit_offset(ctx, args[2], None)?;
    let text = "bit is not an integer or out of range";
    let bit = args::integer_between(args[3], 0..=1, text)? == 1;
    let byte = (offset >> 3) as usize;
    let (old, reaches) = match ctx.db.peek_string(key)? {
        None => (false, false),
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string.bytes(&mut digits);
            (bit_at(bytes, offset), byte < bytes.len())
        }
    };
    if !reaches || old != bit {
        let bytes = ctx.db.string_mut(key)?;
        if !reaches {
            bytes.resize(byte + 1, 0);
        }
        let mask = 1 << (7 - (offset & 7));
        if bit {
            bytes[byte] |= mask;
        } else {
            bytes[byte] &= !mask;
        }
        ctx.db.changed(class::STRING, "setbit", key);
    }
    ctx.reply.integer(i64::from(old));
    Ok(())
}
