//! SDIFF and SDIFFSTORE: what one set has and no other of several has.

use super::algebra::{difference, for_difference, show, store};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

/// SDIFF key [key …]
pub const SDIFF: Command = Command {
    name: "sdiff",
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns what one set has and no other of several has.",
    complexity: "O(N) with N members in all sets together.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::range(1, -1, 1, &["RO", "access"])],
    args: &[Arg::key("key").multiple()],
    run: |ctx, args| show(ctx, &args[1..], difference),
    ..Command::BASE
};

/// SDIFFSTORE destination key [key …]
pub const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    summary: "Stores what one set has and no other of several has under a key.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, &["OW", "update"]),
        KeySpec::range(2, -1, 1, &["RO", "access"]),
    ],
    args: &[
        Arg::key("destination"),
        Arg::new("key", ArgKind::Key(1)).multiple(),
    ],
    run: |ctx, args| {
        let (destination, keys) = (args[1], &args[2..]);
        store(
            ctx,
            destination,
            keys,
            "sdiffstore",
            difference,
            for_difference,
        )
    },
    ..SDIFF
};
