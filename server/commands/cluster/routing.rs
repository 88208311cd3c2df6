//! ASKING, READONLY, READWRITE: what a client says about redirections.

use crate::commands::command::{Command, Group, Locks, acl, flag};

/// ASKING: the next command may meet a slot that is being imported.
pub const ASKING: Command = Command {
    name: "asking",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Tells that a redirection led here.",
    arity: 1,
    flags: flag::FAST,
    acl: acl::CONNECTION,
    locks: Locks::None,
    run: |ctx, _| {
        super::cluster_of(ctx)?;
        ctx.session.routing.asking = true;
        ctx.reply.ok();
        Ok(())
    },
    ..Command::BASE
};

/// READONLY: a replica may answer what only reads.
pub const READONLY: Command = Command {
    name: "readonly",
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Lets a connection read from a replica in a cluster.",
    arity: 1,
    flags: flag::FAST | flag::LOADING | flag::STALE,
    acl: acl::CONNECTION,
    locks: Locks::None,
    run: |ctx, _| {
        ctx.session.routing.read_only = true;
        ctx.reply.ok();
        Ok(())
    },
    ..Command::BASE
};

/// READWRITE: takes READONLY back.
pub const READWRITE: Command = Command {
    name: "readwrite",
    summary: "Takes READONLY back.",
    run: |ctx, _| {
        ctx.session.routing.read_only = false;
        ctx.reply.ok();
        Ok(())
    },
    ..READONLY
};
