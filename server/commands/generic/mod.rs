//! Keys whatever their type, and databases as wholes.

mod access;
mod copy;
mod del;
mod dump;
mod exists;
pub(super) mod expire;
mod flush;
mod keys;
mod move_key;
mod object;
mod persist;
mod randomkey;
mod rename;
mod restore;
mod scan;
mod sort;
mod ttl;
mod type_of;
mod walk;

pub use access::database;

pub use object::is_lfu;
pub use scan::type_named;
pub use walk::Pattern;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &copy::COMMAND,
    &del::DEL,
    &del::UNLINK,
    &dump::COMMAND,
    &exists::EXISTS,
    &exists::TOUCH,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &flush::DBSIZE,
    &flush::FLUSHALL,
    &flush::FLUSHDB,
    &flush::SWAPDB,
    &keys::COMMAND,
    &move_key::COMMAND,
    &object::COMMAND,
    &persist::COMMAND,
    &randomkey::COMMAND,
    &rename::RENAME,
    &rename::RENAMENX,
    &restore::RESTORE,
    &restore::RESTORE_ASKING,
    &scan::COMMAND,
    &sort::SORT,
    &sort::SORT_RO,
    &ttl::EXPIRETIME,
    &ttl::PEXPIRETIME,
    &ttl::PTTL,
    &ttl::TTL,
    &type_of::COMMAND,
];
