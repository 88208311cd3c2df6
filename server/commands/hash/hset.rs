//! HSET and HMSET: give fields of a hash their values.

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

const ARGS: &[Arg] = &[
    Arg::key("key"),
    Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
];

/// HSET key field value [field value …]
pub const HSET: Command = Command {
    name: "hset",
    group: Group::Hash,
    since: "2.0.0",
    summary: "Gives fields of a hash their values and tells how many are new.",
    complexity: "O(1) for every field.",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: ARGS,
    run: |ctx, args| {
        let added = set_fields(ctx, args, "hset")?;
        ctx.reply.integer(added);
        Ok(())
    },
    ..Command::BASE
};

/// HMSET key field value [field value …]
pub const HMSET: Command = Command {
    name: "hmset",
    summary: "Gives fields of a hash their values; HSET does the same.",
    run: hmset,
    ..HSET
};

fn hmset(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    set_fields(ctx, args, "hmset")?;
    ctx.reply.ok();
    Ok(())
}

/// Returns how many fields were new.
fn set_fields(ctx: &mut Context<'_>, args: &[&[u8]], name: &str) -> Result<i64, CommandError> {
    let (key, data) = (args[1], &args[2..]);
    if !data.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name.into()));
    }
    let hash = ctx.db.hash_or_new(key)?;
    let longest = data.iter().map(|word| word.len()).max().unwrap_or(0);
    hash.prepare(data.len() / 2, longest);
    let mut added = 0;
    for pair in data.chunks_exact(2) {
        added += i64::from(hash.set(pair[0], pair[1]));
    }
    ctx.db.changed(class::HASH, "hset", key);
    Ok(added)
}
