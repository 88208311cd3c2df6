//! Sets.

mod algebra;
mod sadd;
mod scard;
mod sdiff;
mod sinter;
mod sintercard;
mod sismember;
mod smembers;
mod smove;
mod spop;
mod srandmember;
mod srem;
mod sscan;
mod sunion;

use super::command::Command;
use crate::keyspace::listpack::Entry;
use crate::resp::reply::ReplyBuffer;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &sadd::COMMAND,
    &scard::COMMAND,
    &sdiff::SDIFF,
    &sdiff::SDIFFSTORE,
    &sinter::SINTER,
    &sintercard::COMMAND,
    &sinter::SINTERSTORE,
    &sismember::SISMEMBER,
    &smembers::COMMAND,
    &sismember::SMISMEMBER,
    &smove::COMMAND,
    &spop::COMMAND,
    &srandmember::COMMAND,
    &srem::COMMAND,
    &sscan::COMMAND,
    &sunion::SUNION,
    &sunion::SUNIONSTORE,
];

/// Replies a member.
#[inline]
fn put(reply: &mut ReplyBuffer, member: Entry<'_>) {
    match member {
        Entry::Int(number) => reply.bulk_integer(number),
        Entry::Str(bytes) => reply.bulk(bytes),
    }
}
