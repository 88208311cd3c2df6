//! SSCAN: the members of a set, piece by piece.

use super::put;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::scan::{self, ScanOptions};
use crate::keyspace::listpack::IntBuffer;

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub const COMMAND: Command = Command {
    name: "sscan",
    group: Group::Set,
    since: "2.8.0",
    summary: "Returns some members of a set, and a cursor for the next call.",
    complexity: "O(1) for every call, O(N) for a whole scan of N members.",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::integer("count").after("COUNT").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cursor = scan::cursor(args[2])?;
    let Some(set) = ctx.db.set(args[1])? else {
        scan::reply_nothing(ctx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(&args[3..], None)?;
    scan::run(ctx.reply, cursor, &options, |cursor, piece| {
        set.scan(cursor, |member| {
            piece.seen += 1;
            if options.shows(member.bytes(&mut IntBuffer::new())) {
                piece.shown += 1;
                put(&mut piece.replies, member);
            }
        })
    });
    Ok(())
}
