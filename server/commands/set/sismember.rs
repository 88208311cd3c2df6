//! SISMEMBER and SMISMEMBER: whether something is in a set.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// SISMEMBER key member
pub const SISMEMBER: Command = Command {
    name: "sismember",
    group: Group::Set,
    since: "1.0.0",
    summary: "Tells whether something is a member of a set.",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    acl: acl::SET,
    keys: &[KeySpec::one(1, &["RO"])],
    args: &[Arg::key("key"), Arg::string("member")],
    run: sismember,
    ..Command::BASE
};

/// SMISMEMBER key member [member …]
pub const SMISMEMBER: Command = Command {
    name: "smismember",
    since: "6.2.0",
    summary: "Tells of several things whether each is a member of a set.",
    complexity: "O(N) with N members asked for.",
    arity: -3,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    run: smismember,
    ..SISMEMBER
};

fn sismember(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let set = ctx.db.set(args[1])?;
    let found = set.is_some_and(|set| set.contains(args[2]));
    ctx.reply.integer(i64::from(found));
    Ok(())
}

fn smismember(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let set = ctx.db.set(args[1])?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        let found = set.is_some_and(|set| set.contains(member));
        ctx.reply.integer(i64::from(found));
    }
    Ok(())
}
