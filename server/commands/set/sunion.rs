//! SUNION and SUNIONSTORE: the members of several sets together.

use super::algebra::{for_union, repeated_union, show, store, union};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

/// SUNION key [key …]
pub const SUNION: Command = Command {
    name: "sunion",
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns the members of several sets together.",
    complexity: "O(N) with N members in all sets together.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::SET,
    keys: &[KeySpec::range(1, -1, 1, &["RO", "access"])],
    args: &[Arg::key("key").multiple()],
    run: |ctx, args| show(ctx, &args[1..], union),
    ..Command::BASE
};

/// SUNIONSTORE destination key [key …]
pub const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    summary: "Stores the members of several sets together under a key.",
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
            "sunionstore",
            repeated_union,
            for_union,
        )
    },
    ..SUNION
};
