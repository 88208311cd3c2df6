//! SINTER and SINTERSTORE: what several sets have in common.

use super::algebra::{for_intersection, intersection, show, store};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

/// SINTER key [key …]
pub const SINTER: Command = Command {
    name: "sinter",
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns what several sets have in common.",
    complexity: "O(N*M) at worst, with N members in the smallest of M sets.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::range(1, -1, 1, &["RO", "access"])],
    args: &[Arg::key("key").multiple()],
    run: |ctx, args| show(ctx, &args[1..], intersection),
    ..Command::BASE
};

/// SINTERSTORE destination key [key …]
pub const SINTERSTORE: Command = Command {
    name: "sinterstore",
    summary: "Stores what several sets have in common under a key.",
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
            "sinterstore",
            intersection,
            for_intersection,
        )
    },
    ..SINTER
};
