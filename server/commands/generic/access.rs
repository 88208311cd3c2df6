//! Looking at a key without counting that as a use of it.

use crate::commands::context::Context;
use crate::commands::error::CommandError;
use crate::keyspace::entry::Entry;

/// Reads a key's entry: a hit or a miss is counted, the eviction clock stays.
pub fn untouched<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    read: impl FnOnce(&Entry) -> R,
) -> Result<Option<R>, CommandError> {
    let access = ctx.db.access.take();
    let found = ctx.db.lookup(key).map(|entry| entry.map(|e| read(&e)));
    ctx.db.access = access;
    Ok(found?)
}

/// The number of an existing database.
pub fn database(ctx: &Context<'_>, arg: &[u8]) -> Result<u32, CommandError> {
    let index = crate::commands::args::integer(arg)?;
    if i32::try_from(index).is_err() {
        return Err(CommandError::err(
            "value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    match u32::try_from(index) {
        Ok(index) if index < ctx.server.keyspace.databases() => Ok(index),
        _ => Err(CommandError::out_of_range("DB index is out of range")),
    }
}
