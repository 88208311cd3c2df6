//! HINCRBYFLOAT: adds to the floating point number in a field.

use super::fields::add_effect;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::listpack::IntBuffer;
use crate::keyspace::recorder::class;
use crate::number::add_long_double;
use crate::number::extended::LongDoubleError;

/// HINCRBYFLOAT key field increment
pub const COMMAND: Command = Command {
    name: "hincrbyfloat",
    group: Group::Hash,
    since: "2.6.0",
    summary: "Adds to the floating point number in a field of a hash; no field counts as 0.",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HASH,
    keys: &[KeySpec::one(1, &["RW", "access", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("field"),
        Arg::double("increment"),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, field) = (args[1], args[2]);
    let increment = add_long_double(b"0", args[3]).map_err(|error| match error {
        LongDoubleError::NotAFloat => CommandError::NotFloat,
        LongDoubleError::NanOrInfinity => CommandError::err("value is NaN or Infinity"),
    })?;
    // Nothing fails on a hash that is made here: the sum is the increment.
    let hash = ctx.db.hash_or_new(key)?;
    let sum = match hash.get(field) {
        None => increment,
        Some(old) => {
            let mut buffer = IntBuffer::new();
            add_long_double(old.bytes(&mut buffer), args[3]).map_err(|error| match error {
                LongDoubleError::NotAFloat => CommandError::err("hash value is not a float"),
                LongDoubleError::NanOrInfinity => CommandError::err(error),
            })?
        }
    };
    hash.set_keeping_expiry(field, sum.as_bytes());
    if hash.has_expiries() {
        let head: [&[u8]; 3] = [b"HSETEX", key, b"KEEPTTL"];
        add_effect(&mut ctx.effects, &head, 2, &[field, sum.as_bytes()]);
    } else {
        ctx.effects.add(&[b"HSET", key, field, sum.as_bytes()]);
    }
    ctx.db.changed(class::HASH, "hincrbyfloat", key);
    ctx.reply.bulk(sum.as_bytes());
    Ok(())
}
