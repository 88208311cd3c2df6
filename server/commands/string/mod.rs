//! Strings.

mod append;
mod delifeq;
pub(super) mod expiration;
mod get;
mod getdel;
mod getex;
mod getrange;
mod getset;
mod incr;
mod incrbyfloat;
mod lcs;
mod mget;
mod mset;
mod msetex;
mod set;
mod setex;
mod setnx;
mod setrange;
mod strlen;

use std::sync::atomic::Ordering;

use super::command::Command;
use super::context::Context;
use super::error::CommandError;
use crate::keyspace::db::StringRef;
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &append::COMMAND,
    &incr::DECR,
    &incr::DECRBY,
    &delifeq::COMMAND,
    &get::COMMAND,
    &getdel::COMMAND,
    &getex::COMMAND,
    &getrange::COMMAND,
    &getset::COMMAND,
    &incr::INCR,
    &incr::INCRBY,
    &incrbyfloat::COMMAND,
    &lcs::COMMAND,
    &mget::COMMAND,
    &mset::COMMAND,
    &msetex::COMMAND,
    &mset::MSETNX,
    &setex::PSETEX,
    &set::COMMAND,
    &setex::COMMAND,
    &setnx::COMMAND,
    &setrange::COMMAND,
    &strlen::COMMAND,
    &getrange::SUBSTR,
];

/// Replies a string, or that there is none.
#[inline]
fn string_or_null(reply: &mut ReplyBuffer, string: Option<StringRef<'_>>) {
    match string {
        None => reply.null(),
        Some(StringRef::Int(int)) => reply.bulk_integer(int),
        Some(StringRef::Bytes(bytes)) => reply.bulk(bytes),
    }
}

/// The bytes `start + added`, if a string may become that long. What comes
/// from the log was checked when it was logged.
fn length_within_limit(
    ctx: &Context<'_>,
    start: usize,
    added: usize,
) -> Result<usize, CommandError> {
    let limit = ctx
        .server
        .settings
        .proto_max_bulk_len
        .load(Ordering::Relaxed);
    let fits = |total: &usize| {
        ctx.session.replaying || i64::try_from(*total).is_ok_and(|total| total <= limit)
    };
    let total = start.checked_add(added).filter(fits);
    total.ok_or(CommandError::StringTooLong)
}
