//! DEBUG POPULATE: many keys at once, for tests.

use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::effects::encode;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::KeyRef;
use crate::keyspace::db::Db;
use crate::keyspace::stripe::StripeSet;

/// The largest value that is asked for.
const MAX_BYTES: i64 = 512 << 20;

/// DEBUG POPULATE count [prefix] [size]: string keys `prefix:0` and so on, those
/// that are there left as they are. A value is `value:N`, or has `size` bytes
/// that begin so.
pub fn run(ctx: &mut Context<'_>, words: &[&[u8]]) -> CommandResult {
    let (count, prefix, size) = match words {
        [count] => (count, &b"key"[..], None),
        [count, prefix] => (count, *prefix, None),
        [count, prefix, size] => (count, *prefix, Some(args::integer(size)?)),
        _ => return Err(CommandError::Syntax),
    };
    let count = args::integer(count)?;
    if count < 0 || size.is_some_and(|size| !(0..=MAX_BYTES).contains(&size)) {
        return Err(CommandError::out_of_range(
            "value is out of range, must be positive",
        ));
    }
    if ctx.holds_all || ctx.in_transaction {
        return Err(CommandError::err("DEBUG POPULATE runs by itself only"));
    }
    let (server, index) = (ctx.server, ctx.session.db);
    let (mut key, mut value, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(format!(":{number}").as_bytes());
        value.clear();
        value.extend_from_slice(format!("value:{number}").as_bytes());
        if let Some(size) = size.filter(|size| *size > 0) {
            value.resize(size as usize, 0);
        }
        let stripes = StripeSet::one(KeyRef::new(&key).stripe());
        let mut db = Db::open(&server.keyspace, stripes, index, ctx.db.now_ms);
        if db.exists(&key)? {
            continue;
        }
        db.set_string(&key, &value, None)?;
        if let Some(log) = server.own_log() {
            bytes.clear();
            encode(&mut bytes, &[b"SET", &key, &value]);
            log.append(index, &bytes, index);
        }
        ctx.session.tally.dirty += 1;
    }
    ctx.reply.ok();
    Ok(())
}
