//! COPY: the same value under another key, perhaps in another database.

use redoubt_persistence::rdb::RdbError;

use super::access::database;
use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::codec;
use crate::keyspace::entry::{Value, ValueRef};
use crate::keyspace::recorder::class;

/// COPY source destination [DB destination-db] [REPLACE]
pub const COMMAND: Command = Command {
    name: "copy",
    group: Group::Generic,
    since: "6.2.0",
    summary: "Puts a copy of a value under another key.",
    complexity: "O(N) for N elements, O(1) for strings.",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::KEYSPACE,
    keys: &[
        KeySpec::one(1, &["RO", "access"]),
        KeySpec::one(2, &["OW", "update"]),
    ],
    args: &[
        Arg::key("source"),
        Arg::new("destination", ArgKind::Key(1)),
        Arg::integer("destination-db").after("DB").optional(),
        Arg::word("replace", "REPLACE").optional(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (from, to) = (args[1], args[2]);
    let from_db = ctx.db.index();
    let (mut to_db, mut replace) = (from_db, false);
    let mut words = args[3..].iter();
    while let Some(word) = words.next() {
        if args::is(word, "REPLACE") {
            replace = true;
        } else if let (true, Some(index)) = (args::is(word, "DB"), words.as_slice().first()) {
            to_db = database(ctx, index)?;
            words.next();
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if from == to && from_db == to_db {
        return Err(CommandError::err(
            "source and destination objects are the same",
        ));
    }
    let found = ctx.db.lookup(from)?;
    let copied = found.map(|entry| (duplicate(entry.value()), entry.expire_at_ms()));
    ctx.db.select(to_db);
    let done = match copied {
        Some((value, expire_at_ms)) if replace || !ctx.db.exists(to)? => {
            let value = value.map_err(|e| CommandError::Storage(e.to_string()))?;
            let replaced = ctx.db.exists(to)?;
            ctx.db.set_value(to, value, expire_at_ms)?;
            if replaced {
                // The old key counts as removed first.
                ctx.db.event(class::NEW, "new", to);
            }
            ctx.db.changed(class::GENERIC, "copy_to", to);
            true
        }
        _ => false,
    };
    ctx.db.select(from_db);
    ctx.reply.integer(i64::from(done));
    Ok(())
}

/// A value like another.
fn duplicate(value: ValueRef<'_>) -> Result<Value, RdbError> {
    match value {
        ValueRef::Int(int) => Ok(Value::Int(int)),
        ValueRef::Bytes(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        collection => {
            let mut payload = Vec::new();
            codec::encode_payload(collection, &mut payload);
            codec::decode_payload(&payload)
        }
    }
}
