//! CLIENT PAUSE: which commands wait, and until when.

use std::sync::atomic::Ordering;

use super::session::Session;
use crate::commands::command::{Command, flag};
use crate::commands::table::Found;
use crate::state::Server;

/// Whether a pause is on, of writes at least.
#[inline]
pub fn is_on(server: &Server, now_ms: i64) -> bool {
    server.pause_until_ms.load(Ordering::Relaxed) > now_ms
}

/// Whether a command has to wait while a pause is on. A command that would be
/// refused anyway is answered at once.
pub fn holds(server: &Server, session: &Session, found: Option<Found>, args: &[&[u8]]) -> bool {
    let Some(Found { command, .. }) = found else {
        return false;
    };
    if server.pause_writes_only.load(Ordering::Relaxed) && !may_write(session, command) {
        return false;
    }
    // In a failover the refusals of now are not those of the time after it.
    server.replication.failover.is_handing_over()
        || super::gate::check(server, session, command, args).is_ok()
}

/// Whether a command can change something or be passed on to replicas.
fn may_write(session: &Session, command: &Command) -> bool {
    let writes = |command: &Command| {
        command.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0
            || matches!(command.name, "publish" | "spublish" | "pfcount")
    };
    let queued = || {
        let transaction = session.transaction.as_ref();
        transaction.is_some_and(|t| t.queued.iter().any(|queued| writes(queued.command)))
    };
    writes(command) || (command.name == "exec" && queued())
}

/// Begins a pause or makes it longer. One that is on is neither shortened nor
/// made less strict.
pub fn begin(server: &Server, until_ms: i64, writes_only: bool, now_ms: i64) {
    let strict = is_on(server, now_ms) && !server.pause_writes_only.load(Ordering::Relaxed);
    server
        .pause_writes_only
        .store(writes_only && !strict, Ordering::Relaxed);
    server.pause_until_ms.fetch_max(until_ms, Ordering::Relaxed);
}

/// Ends the pause.
pub fn end(server: &Server) {
    server.pause_until_ms.store(0, Ordering::Relaxed);
    server.unpaused.notify_waiters();
}
