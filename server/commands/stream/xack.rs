//! XACK: acknowledges entries.

use super::ids;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::stream::StreamId;

/// XACK key group id [id …]
pub const COMMAND: Command = Command {
    name: "xack",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Acknowledges entries that a consumer of a group has worked on.",
    complexity: "O(log N) for each entry, when N are not acknowledged.",
    arity: -4,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("id").multiple(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    ctx.db.lookup(args[1])?;
    let stream = ctx.db.stream_mut(args[1])?;
    let Some(group) = stream.and_then(|stream| stream.groups.get_mut(args[2])) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let wanted = args[3..].iter().map(|arg| ids::strict(arg));
    let wanted = wanted.collect::<Result<Vec<StreamId>, CommandError>>()?;
    let acknowledged = wanted
        .into_iter()
        .filter(|&id| group.acknowledge(id).is_some())
        .count();
    ctx.db.recorder.dirty += acknowledged as u64;
    ctx.reply.integer(acknowledged as i64);
    Ok(())
}
