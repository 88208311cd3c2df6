//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

mod discard;
mod exec;
mod multi;
mod unwatch;
mod watch;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &discard::COMMAND,
    &exec::COMMAND,
    &multi::COMMAND,
    &unwatch::COMMAND,
    &watch::COMMAND,
];

/// Ends all watches of a session.
pub fn unwatch_all(
    server: &crate::state::Server,
    session: &mut crate::connection::session::Session,
) {
    for (db, key) in std::mem::take(&mut session.watched) {
        server.watches.remove(db, &key, &session.client);
    }
    let held = &session.client.held;
    held.watched.store(0, std::sync::atomic::Ordering::Relaxed);
    session
        .client
        .watched
        .store(0, std::sync::atomic::Ordering::Relaxed);
    session
        .client
        .watch_broken
        .store(false, std::sync::atomic::Ordering::Release);
}

/// Forgets the open transaction and its watches.
pub fn abandon(server: &crate::state::Server, session: &mut crate::connection::session::Session) {
    session.transaction = None;
    let held = &session.client.held;
    held.queued.store(0, std::sync::atomic::Ordering::Relaxed);
    session
        .client
        .queued
        .store(-1, std::sync::atomic::Ordering::Relaxed);
    unwatch_all(server, session);
}
