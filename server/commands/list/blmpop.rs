//! BLMPOP: LMPOP that waits for a list.

use super::lmpop::{COUNT, KEYS, NUMKEYS, WHERE, parse, take_first};
use crate::commands::args::timeout_ms;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::blocking::{BlockRequest, TimeoutReply};

/// BLMPOP timeout numkeys key [key …] LEFT|RIGHT [COUNT count]
pub const COMMAND: Command = Command {
    name: "blmpop",
    group: Group::List,
    since: "7.0.0",
    summary: "Takes elements from the first of several lists that has any, or waits for one.",
    complexity: "O(N+M), when N is the number of keys and M the number of elements taken",
    arity: -5,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
    acl: acl::LIST,
    keys: &[KeySpec::keynum(2, &["RW", "access", "delete"])],
    args: &[Arg::double("timeout"), NUMKEYS, KEYS, WHERE, COUNT],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let wanted = parse(&args[2..])?;
    let timeout_ms = timeout_ms(args[1])?;
    if !take_first(ctx, &wanted)? {
        ctx.block(BlockRequest {
            keys: wanted.keys.iter().map(|key| key.to_vec()).collect(),
            timeout_ms,
            on_timeout: TimeoutReply::NullArray,
            args: None,
        });
    }
    Ok(())
}
