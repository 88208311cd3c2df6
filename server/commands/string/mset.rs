//! MSET and MSETNX: stores several strings at once.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// MSET key value [key value …]
pub const COMMAND: Command = Command {
    name: "mset",
    group: Group::String,
    since: "1.0.1",
    summary: "Stores strings under several keys, whatever was there before.",
    complexity: "O(N) where N is the number of keys.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec::range(1, -1, 2, &["OW", "update"])],
    args: &[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()],
    run,
    ..Command::BASE
};

/// MSETNX key value [key value …]
pub const MSETNX: Command = Command {
    name: "msetnx",
    group: Group::String,
    since: "1.0.1",
    summary: "Stores strings under several keys if none of them is there.",
    complexity: "O(N) where N is the number of keys.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::STRING,
    keys: &[KeySpec::range(1, -1, 2, &["OW", "insert"])],
    args: &[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()],
    run: run_nx,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity("mset".into()));
    }
    store_all(ctx, &args[1..])?;
    ctx.reply.ok();
    Ok(())
}

fn run_nx(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity("msetnx".into()));
    }
    for pair in args[1..].chunks_exact(2) {
        if ctx.db.exists(pair[0])? {
            ctx.reply.integer(0);
            return Ok(());
        }
    }
    store_all(ctx, &args[1..])?;
    ctx.reply.integer(1);
    Ok(())
}

fn store_all(ctx: &mut Context<'_>, pairs: &[&[u8]]) -> CommandResult {
    for pair in pairs.chunks_exact(2) {
        ctx.db.set_string(pair[0], pair[1], None)?;
        ctx.db.changed(class::STRING, "set", pair[0]);
    }
    Ok(())
}
