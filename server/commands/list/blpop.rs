//! BLPOP, BRPOP: take one element from the first list that there is, or wait
//! for one.

use super::{note_pop, pop_name, reply_element};
use crate::commands::args::timeout_ms;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::keyspace::list::End;

/// What the two have in common.
const BASE: Command = Command {
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N), when N is the number of keys",
    arity: -3,
    flags: flag::WRITE | flag::BLOCKING,
    acl: acl::LIST,
    keys: &[KeySpec::range(1, -2, 1, &["RW", "access", "delete"])],
    args: &[Arg::key("key").multiple(), Arg::double("timeout")],
    ..Command::BASE
};

/// BLPOP key [key …] timeout
pub const BLPOP: Command = Command {
    name: "blpop",
    summary: "Takes the first element of the first list that there is, or waits for one.",
    run: |ctx, args| pop(ctx, args, End::Front),
    ..BASE
};

/// BRPOP key [key …] timeout
pub const BRPOP: Command = Command {
    name: "brpop",
    summary: "Takes the last element of the first list that there is, or waits for one.",
    run: |ctx, args| pop(ctx, args, End::Back),
    ..BASE
};

fn pop(ctx: &mut Context<'_>, args: &[&[u8]], end: End) -> CommandResult {
    let (keys, timeout) = (&args[1..args.len() - 1], args[args.len() - 1]);
    let timeout_ms = timeout_ms(timeout)?;
    for key in keys {
        let reply = &mut *ctx.reply;
        let Some(list) = ctx.db.list_mut(key)? else {
            continue;
        };
        reply.array(2);
        reply.bulk(key);
        list.pop(end, |element| reply_element(reply, element));
        let is_empty = list.is_empty();
        ctx.effects.add(&[pop_name(end), key]);
        return note_pop(&mut ctx.db, end, key, is_empty);
    }
    ctx.block(BlockRequest {
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        timeout_ms,
        on_timeout: TimeoutReply::NullArray,
        args: None,
    });
    Ok(())
}
