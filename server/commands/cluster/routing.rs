//! ASKING, READONLY, READWRITE: what a client says about redirections.

use std::sync::atomic::Ordering;

use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::connection::session::Session;

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

/// For the session, and for those that stand for it while it waits.
pub fn read_only(session: &mut Session, on: bool) {
    session.routing.read_only = on;
    session.client.read_only.store(on, Ordering::Relaxed);
}

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
        read_only(ctx.session, true);
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
        read_only(ctx.session, false);
        ctx.reply.ok();
        Ok(())
    },
    ..READONLY
};
