//! HGETALL, HKEYS and HVALS: a whole hash, its fields, its values.

use super::put;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};

/// HGETALL key
pub const HGETALL: Command = Command {
    name: "hgetall",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns every field of a hash with its value.",
    complexity: "O(N) with N fields in the hash.",
    arity: 2,
    flags: flag::READONLY,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run: |ctx, args| {
        let hash = ctx.db.hash(args[1])?;
        ctx.reply.map(hash.map_or(0, |hash| hash.len()));
        for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
            put(ctx.reply, field);
            put(ctx.reply, value);
        }
        Ok(())
    },
    ..Command::BASE
};

/// HKEYS key
pub const HKEYS: Command = Command {
    name: "hkeys",
    summary: "Returns every field of a hash.",
    run: |ctx, args| {
        let hash = ctx.db.hash(args[1])?;
        ctx.reply.array(hash.map_or(0, |hash| hash.len()));
        for (field, _) in hash.iter().flat_map(|hash| hash.iter()) {
            put(ctx.reply, field);
        }
        Ok(())
    },
    ..HGETALL
};

/// HVALS key
pub const HVALS: Command = Command {
    name: "hvals",
    summary: "Returns every value of a hash.",
    run: |ctx, args| {
        let hash = ctx.db.hash(args[1])?;
        ctx.reply.array(hash.map_or(0, |hash| hash.len()));
        for (_, value) in hash.iter().flat_map(|hash| hash.iter()) {
            put(ctx.reply, value);
        }
        Ok(())
    },
    ..HGETALL
};
