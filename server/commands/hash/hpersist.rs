//! HPERSIST: fields that expire do so no more.

use super::fields::{FIELDS, add_effect, counted};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::hash::Hash;
use crate::keyspace::recorder::class;

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NEVER: i64 = -1;
/// The field does not expire any more.
const PERSISTED: i64 = 1;

/// HPERSIST key FIELDS numfields field [field …]
pub const COMMAND: Command = Command {
    name: "hpersist",
    group: Group::Hash,
    since: "9.0.0",
    summary: "Keeps fields of a hash from expiring.",
    complexity: "O(N) with N fields.",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[Arg::key("key"), FIELDS],
    run: |ctx, args| ctx.uncounted(|ctx| run(ctx, args)),
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let key = args[1];
    if !args::is(args[2], "FIELDS") {
        return Err(CommandError::Syntax);
    }
    let fields = counted(&args[3..], 1)?;
    let mut persisted: Vec<&[u8]> = Vec::new();
    let mut hash = match ctx.db.hash(key)?.is_some_and(Hash::has_expiries) {
        true => ctx.db.hash_mut(key)?,
        false => None,
    };
    let answers: Vec<i64> = match &mut hash {
        None => {
            let hash = ctx.db.hash(key)?;
            let is_there = |field: &&[u8]| hash.is_some_and(|hash| hash.contains(field));
            let answer = |field| if is_there(field) { NEVER } else { NO_FIELD };
            fields.iter().map(answer).collect()
        }
        Some(hash) => fields
            .iter()
            .map(|&field| match hash.expiry(field) {
                None => NO_FIELD,
                Some(None) => NEVER,
                Some(Some(_)) => {
                    hash.set_expiry(field, None);
                    persisted.push(field);
                    PERSISTED
                }
            })
            .collect(),
    };
    ctx.reply.array(answers.len());
    answers
        .into_iter()
        .for_each(|answer| ctx.reply.integer(answer));
    conclude_persisting(ctx, key, &persisted);
    Ok(())
}

/// Logs that fields, if any, expire no more.
pub fn conclude_persisting(ctx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) {
    if !fields.is_empty() {
        add_effect(&mut ctx.effects, &[b"HPERSIST", key], 1, fields);
        ctx.db.changed(class::HASH, "hpersist", key);
    }
}
