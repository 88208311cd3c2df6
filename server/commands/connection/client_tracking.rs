//! CLIENT TRACKING and what belongs to it. Tracking of keys for client-side
//! caches is not there yet: it can only be turned off.

use super::client::{BASE, QUICK};
use crate::commands::args::is;
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// CLIENT TRACKING ON | OFF [option …]
pub const TRACKING: Command = Command {
    name: "client|tracking",
    since: "6.0.0",
    summary: "Turns messages about changed keys on or off, for client-side caches.",
    complexity: "O(1). Some options may introduce additional complexity.",
    arity: -3,
    args: &[
        Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
        Arg::integer("client-id").after("REDIRECT").optional(),
        Arg::string("prefix")
            .after("PREFIX")
            .optional()
            .multiple_token(),
        Arg::word("bcast", "BCAST").optional(),
        Arg::word("optin", "OPTIN").optional(),
        Arg::word("optout", "OPTOUT").optional(),
        Arg::word("noloop", "NOLOOP").optional(),
    ],
    run: tracking,
    ..BASE
};

/// CLIENT CACHING YES | NO
pub const CACHING: Command = Command {
    name: "client|caching",
    since: "6.0.0",
    summary: "Tells whether the next command's keys are to be tracked.",
    arity: 3,
    args: &[Arg::one_of(
        "mode",
        &[Arg::word("yes", "YES"), Arg::word("no", "NO")],
    )],
    run: |_, _| {
        Err(CommandError::err(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ))
    },
    ..QUICK
};

/// CLIENT GETREDIR
pub const GETREDIR: Command = Command {
    name: "client|getredir",
    since: "6.0.0",
    summary: "Tells to which connection messages about changed keys go.",
    arity: 2,
    run: |ctx, _| {
        ctx.reply.integer(-1);
        Ok(())
    },
    ..QUICK
};

/// CLIENT TRACKINGINFO
pub const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    since: "6.2.0",
    summary: "Describes how this connection tracks keys.",
    arity: 2,
    run: info,
    ..BASE
};

fn tracking(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if is(args[2], "OFF") {
        ctx.reply.ok();
        return Ok(());
    }
    if !is(args[2], "ON") {
        return Err(CommandError::Syntax);
    }
    Err(CommandError::err("CLIENT TRACKING is not supported yet"))
}

fn info(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    ctx.reply.map(3);
    ctx.reply.bulk(b"flags");
    ctx.reply.set(1);
    ctx.reply.bulk(b"off");
    ctx.reply.bulk(b"redirect");
    ctx.reply.integer(-1);
    ctx.reply.bulk(b"prefixes");
    ctx.reply.array(0);
    Ok(())
}
