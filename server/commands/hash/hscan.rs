//! HSCAN: the fields of a hash, piece by piece.

use super::put;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::scan::{self, ScanOptions};
use crate::keyspace::listpack::IntBuffer;

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
pub const COMMAND: Command = Command {
    name: "hscan",
    group: Group::Hash,
    since: "2.8.0",
    summary: "Returns some fields of a hash with their values, and a cursor for the next call.",
    complexity: "O(1) for every call, O(N) for a whole scan of N fields.",
    arity: -3,
    flags: flag::READONLY,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::word("novalues", "NOVALUES").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cursor = scan::cursor(args[2])?;
    let Some(hash) = ctx.db.hash(args[1])? else {
        scan::reply_nothing(ctx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(&args[3..], Some("NOVALUES"))?;
    scan::run(ctx.reply, cursor, &options, |cursor, piece| {
        hash.scan(cursor, |field, value| {
            piece.seen += 1;
            if options.shows(field.bytes(&mut IntBuffer::new())) {
                piece.shown += 1;
                put(&mut piece.replies, field);
                if !options.names_only {
                    piece.shown += 1;
                    put(&mut piece.replies, value);
                }
            }
        })
    });
    Ok(())
}
