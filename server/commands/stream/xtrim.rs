//! XTRIM: takes the oldest entries away.

use super::options::{TRIM_ARGS, parse};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::keyspace::stream::Exactness;

/// XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]
pub const COMMAND: Command = Command {
    name: "xtrim",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Takes the oldest entries of a stream away.",
    complexity: "O(N) for N entries taken away, by whole nodes of them.",
    arity: -4,
    flags: flag::WRITE,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "delete"])],
    args: &[Arg::key("key"), Arg::block("trim", TRIM_ARGS)],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args, false, ctx.session.replaying)?;
    let trimming = options.trimming.ok_or(CommandError::Syntax)?;
    let key = args[1];
    let Some(stream) = ctx.db.stream_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let trimmed = stream.entries.trim(trimming.trim, trimming.exactness);
    let len = stream.entries.len();
    ctx.reply.integer(trimmed as i64);
    if trimmed > 0 {
        ctx.db.changed(class::STREAM, "xtrim", key);
        ctx.db.recorder.dirty += trimmed - 1;
        if trimming.exactness != Exactness::Exact {
            let mut digits = itoa::Buffer::new();
            let len = digits.format(len).as_bytes();
            ctx.effects.add(&[b"XTRIM", key, b"MAXLEN", b"=", len]);
        }
    }
    Ok(())
}
