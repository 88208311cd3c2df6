//! Commands about the connection itself.

mod auth;
mod client;
mod client_kill;
mod client_list;
mod client_pause;
mod client_settings;
mod client_tracking;
mod client_unblock;
mod echo;
mod filter;
mod hello;
mod help;
mod login;
mod monitor;
mod ping;
mod quit;
mod reset;
mod select;

use super::command::Command;
pub use client_tracking::redirect_of;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &auth::COMMAND,
    &client::COMMAND,
    &echo::COMMAND,
    &hello::COMMAND,
    &monitor::COMMAND,
    &ping::COMMAND,
    &quit::COMMAND,
    &reset::COMMAND,
    &select::COMMAND,
];
