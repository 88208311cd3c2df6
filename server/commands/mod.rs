//! Commands: what one is (`command.rs`), the table of all (`table.rs`), and a
//! folder for each family with a file for each command.
//!
//! A new command is a constant of type [`command::Command`] in a file of its
//! family's folder, listed in that folder's `COMMANDS`.

pub mod acl;
pub mod args;
pub mod bitmap;
pub mod cluster;
pub mod command;
pub mod connection;
pub mod context;
pub mod effects;
pub mod error;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod keys;
pub mod list;
pub mod pubsub;
pub mod replication;
pub mod sample;
pub mod scan;
pub mod scripting;
pub mod server;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod string;
mod syntax;
pub mod table;
pub mod tips;
pub mod transaction;

use command::Command;

/// The families' lists.
pub fn families() -> &'static [&'static [&'static Command]] {
    &[
        acl::COMMANDS,
        bitmap::COMMANDS,
        cluster::COMMANDS,
        connection::COMMANDS,
        generic::COMMANDS,
        geo::COMMANDS,
        hash::COMMANDS,
        hyperloglog::COMMANDS,
        list::COMMANDS,
        pubsub::COMMANDS,
        replication::COMMANDS,
        scripting::COMMANDS,
        server::COMMANDS,
        set::COMMANDS,
        sorted_set::COMMANDS,
        stream::COMMANDS,
        string::COMMANDS,
        transaction::COMMANDS,
    ]
}
