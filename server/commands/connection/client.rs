//! CLIENT: the container of commands about connections.

use super::{
    client_kill, client_list, client_pause, client_settings, client_tracking, client_unblock, help,
};
use crate::commands::command::{Command, Group, Locks, acl, flag};

/// CLIENT subcommand
pub const COMMAND: Command = Command {
    name: "client",
    group: Group::Connection,
    since: "2.4.0",
    summary: "Commands about connections.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        &client_tracking::CACHING,
        &client_settings::CAPA,
        &client_settings::GETNAME,
        &client_tracking::GETREDIR,
        &help::CLIENT,
        &client_list::ID,
        &client_settings::IMPORT_SOURCE,
        &client_list::INFO,
        &client_kill::COMMAND,
        &client_list::LIST,
        &client_settings::NO_EVICT,
        &client_settings::NO_TOUCH,
        &client_pause::PAUSE,
        &client_settings::REPLY,
        &client_settings::SETINFO,
        &client_settings::SETNAME,
        &client_tracking::TRACKING,
        &client_tracking::TRACKINGINFO,
        &client_unblock::COMMAND,
        &client_pause::UNPAUSE,
    ],
    ..Command::BASE
};

/// What the subcommands have in common.
pub const BASE: Command = Command {
    group: Group::Connection,
    since: "2.4.0",
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    acl: acl::CONNECTION,
    locks: Locks::None,
    ..Command::BASE
};

/// [`BASE`], also while a script blocks the server.
pub const QUICK: Command = Command {
    flags: BASE.flags | flag::ALLOW_BUSY,
    ..BASE
};

/// [`BASE`], for administrators.
pub const ADMIN: Command = Command {
    flags: BASE.flags | flag::ADMIN,
    ..BASE
};
