//! What clients may do while the server starts, if that takes long.
//!
//! A log is replayed or a file imported then, and nothing may come between: not a
//! read of keys, not a write, nothing that has to do with persistence, replication
//! or the cluster. All of that gets the error LOADING. What a client says of itself
//! is taken and kept, as in Valkey: who selects a database or opens a transaction
//! now must not find himself in another, or outside, once commands run.

use std::sync::atomic::Ordering;

use super::session::Session;
use crate::commands::command::{Command, Group, flag};
use crate::commands::error::CommandError;
use crate::state::Server;

/// The server begins to start.
pub fn begin(server: &Server) {
    server.loading.store(true, Ordering::Release);
    server.starting.store(true, Ordering::Release);
}

/// It has started.
pub fn end(server: &Server) {
    server.starting.store(false, Ordering::Release);
    server.loading.store(false, Ordering::Release);
}

/// Whether the server starts. Once it does not, it never does again.
#[inline]
pub fn is_on(server: &Server) -> bool {
    server.starting.load(Ordering::Acquire)
}

/// The gate's check.
pub(super) fn check(
    server: &Server,
    _: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if !is_on(server) || is_harmless(command) {
        return Ok(());
    }
    Err(CommandError::text(
        "LOADING Redoubt is loading the dataset in memory",
    ))
}

/// Whether a command touches nothing but its connection, counters, and what the
/// server knows of users and channels; or ends the server.
fn is_harmless(command: &Command) -> bool {
    let name = command.name;
    if !command.has(flag::LOADING) {
        return false;
    }
    let container = name.split('|').next().unwrap_or_default();
    match command.group {
        Group::Transactions => true,
        Group::Connection => !matches!(name, "client|pause" | "client|unpause"),
        // What is published goes into the log, or to other nodes.
        Group::Pubsub => !matches!(name, "publish" | "spublish"),
        _ => {
            name.ends_with("|help")
                || matches!(
                    container,
                    "acl" | "command" | "commandlog" | "info" | "latency" | "slowlog" | "time"
                )
                || matches!(name, "config|get" | "config|resetstat")
                || matches!(name, "lastsave" | "monitor" | "readonly" | "readwrite")
                || matches!(name, "role" | "shutdown")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::table;

    #[test]
    fn nothing_that_has_keys_or_writes_runs_in_a_start() {
        let all = table().all().iter();
        let commands = all.flat_map(|command| {
            let own = std::slice::from_ref(command);
            own.iter().chain(command.subcommands)
        });
        let mut harmless = 0;
        for command in commands.filter(|command| is_harmless(command)) {
            harmless += 1;
            assert!(!command.has(flag::WRITE), "{}", command.name);
            let by_name = command.name == "watch" || command.group == Group::Pubsub;
            assert!(command.keys.is_empty() || by_name, "{}", command.name);
        }
        assert!(harmless > 40, "{harmless}");
    }

    #[test]
    fn what_a_client_says_of_itself_is_taken_in_a_start() {
        let find = |name: &str| {
            let words: Vec<&[u8]> = name.split('|').map(str::as_bytes).collect();
            table().find(&words).expect("it is there").command
        };
        let kept = [
            "auth",
            "hello",
            "select",
            "reset",
            "quit",
            "echo",
            "multi",
            "exec",
            "discard",
            "watch",
            "unwatch",
            "subscribe",
            "psubscribe",
            "ssubscribe",
            "readonly",
            "client|setname",
            "client|reply",
            "client|tracking",
            "config|get",
            "info",
        ];
        for name in kept {
            assert!(is_harmless(find(name)), "{name}");
        }
        let refused = [
            "ping",
            "get",
            "debug",
            "publish",
            "config|set",
            "config|rewrite",
            "client|pause",
            "replconf",
            "psync",
            "replicaof",
            "cluster|info",
            "dbsize",
            "function|stats",
            "eval",
            "memory|purge",
            "bgsave",
            "wait",
        ];
        for name in refused {
            assert!(!is_harmless(find(name)), "{name}");
        }
    }
}
