//! Bitmaps: strings seen as bits. Bit 0 is the highest of the first byte.

mod bitcount;
mod bitfield;
mod bitop;
mod bitpos;
mod field;
mod getbit;
mod range;
mod setbit;

use std::sync::atomic::Ordering;

use super::command::Command;
use super::context::Context;
use super::error::CommandError;
use crate::number::parse_i64;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &bitcount::COMMAND,
    &bitfield::COMMAND,
    &bitfield::READ_ONLY,
    &bitop::COMMAND,
    &bitpos::COMMAND,
    &getbit::COMMAND,
    &setbit::COMMAND,
];

/// Reads the offset of a bit, within the limit to a string's length. With
/// `width`, `#n` means the n-th field of that many bits.
fn bit_offset(ctx: &Context<'_>, arg: &[u8], width: Option<u32>) -> Result<u64, CommandError> {
    let limit_bytes = ctx
        .server
        .settings
        .proto_max_bulk_len
        .load(Ordering::Relaxed);
    let offset = match (arg, width) {
        ([b'#', index @ ..], Some(width)) => {
            parse_i64(index).and_then(|index| index.checked_mul(i64::from(width)))
        }
        _ => parse_i64(arg),
    };
    offset
        .filter(|offset| ctx.session.replaying || offset >> 3 < limit_bytes)
        .and_then(|offset| u64::try_from(offset).ok())
        .ok_or_else(|| CommandError::err("bit offset is not an integer or out of range"))
}

/// A bit of a string; 0 beyond its end.
fn bit_at(bytes: &[u8], offset: u64) -> bool {
    let byte = bytes.get((offset >> 3) as usize).copied().unwrap_or(0);
    byte >> (7 - (offset & 7)) & 1 == 1
}
