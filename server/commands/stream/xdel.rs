//! XDEL: deletes entries.

use super::ids;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::keyspace::stream::StreamId;

/// XDEL key id [id …]
pub const COMMAND: Command = Command {
    name: "xdel",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Deletes entries of a stream; tells how many there were.",
    complexity: "O(log N) for each entry, when there are N.",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::string("id").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    let Some(stream) = ctx.db.stream_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let wanted = args[2..].iter().map(|arg| ids::strict(arg));
    let wanted = wanted.collect::<Result<Vec<StreamId>, CommandError>>()?;
    let deleted = wanted
        .into_iter()
        .filter(|&id| stream.entries.delete(id))
        .count() as u64;
    ctx.reply.integer(deleted as i64);
    if deleted > 0 {
        ctx.db.changed(class::STREAM, "xdel", key);
        ctx.db.recorder.dirty += deleted - 1;
    }
    Ok(())
}
