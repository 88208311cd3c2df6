//! BLMOVE, BRPOPLPUSH: LMOVE and RPOPLPUSH that wait for the source.

use super::end_of;
use super::lmove::{DESTINATION, KEYS, end_arg, move_element};
use crate::commands::args::timeout_ms;
use crate::commands::command::{Arg, Command, Group, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandError;
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::keyspace::list::End;

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
pub const BLMOVE: Command = Command {
    name: "blmove",
    group: Group::List,
    since: "6.2.0",
    summary: "Takes an element from one list, waiting for it if need be, and adds it to another.",
    complexity: "O(1)",
    arity: 6,
    flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
    acl: acl::LIST,
    keys: KEYS,
    args: &[
        Arg::key("source"),
        DESTINATION,
        end_arg("wherefrom"),
        end_arg("whereto"),
        Arg::double("timeout"),
    ],
    run: |ctx, args| {
        let (from, to) = (end_of(args[3])?, end_of(args[4])?);
        let timeout_ms = timeout_ms(args[5])?;
        if move_or_block(ctx, args, from, to, timeout_ms)? {
            // The ends as the client wrote them.
            ctx.effects
                .add(&[b"LMOVE", args[1], args[2], args[3], args[4]]);
        }
        Ok(())
    },
    ..Command::BASE
};

/// BRPOPLPUSH source destination timeout
pub const BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    group: Group::List,
    since: "2.2.0",
    summary: "Takes the last element of a list, waiting for it if need be, \
              and adds it at the front of another.",
    complexity: "O(1)",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
    acl: acl::LIST,
    keys: KEYS,
    args: &[Arg::key("source"), DESTINATION, Arg::double("timeout")],
    run: |ctx, args| {
        let timeout_ms = timeout_ms(args[3])?;
        if move_or_block(ctx, args, End::Back, End::Front, timeout_ms)? {
            ctx.effects.add(&[b"RPOPLPUSH", args[1], args[2]]);
        }
        Ok(())
    },
    ..Command::BASE
};

/// Whether an element was moved; otherwise the client waits for the source.
fn move_or_block(
    ctx: &mut Context<'_>,
    args: &[&[u8]],
    from: End,
    to: End,
    timeout_ms: u64,
) -> Result<bool, CommandError> {
    if move_element(ctx, args[1], args[2], from, to)? {
        return Ok(true);
    }
    // Where nothing may block the answer is a plain null, unlike a timeout's.
    let on_timeout = match ctx.in_transaction {
        true => TimeoutReply::Null,
        false => TimeoutReply::NullArray,
    };
    ctx.block(BlockRequest {
        keys: vec![args[1].to_vec()],
        timeout_ms,
        on_timeout,
        args: None,
    });
    Ok(false)
}
