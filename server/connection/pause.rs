//! CLIENT PAUSE: which commands wait, and until when.

use std::sync::atomic::Ordering;

use super::session::Session;
use crate::commands::command::{Command, flag};
use crate::commands::table::Found;
use crate::scripting::cache::{Script, parse_sha};
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
    if server.pause_writes_only.load(Ordering::Relaxed)
        && !may_write(server, session, command, args)
    {
        return false;
    }
    // In a failover the refusals of now are not those of the time after it.
    server.replication.failover.is_handing_over()
        || super::gate::check(server, session, command, args).is_ok()
}

/// Whether a command can change something or be passed on to replicas.
fn may_write(server: &Server, session: &Session, command: &Command, args: &[&[u8]]) -> bool {
    let writes = |command: &Command, name: Option<&[u8]>| {
        has_effects(command) || name.is_some_and(|name| script_may_write(server, command, name))
    };
    let queued = || {
        let transaction = session.transaction.as_ref();
        let mut queued = transaction.into_iter().flat_map(|t| &t.queued);
        queued.any(|queued| writes(queued.command, queued.args.get(1).map(Vec::as_slice)))
    };
    writes(command, args.get(1).copied()) || (command.name == "exec" && queued())
}

/// Whether a command by itself changes something or is passed on to replicas.
pub fn has_effects(command: &Command) -> bool {
    command.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0
        || matches!(command.name, "publish" | "spublish" | "pfcount")
}

/// Whether a call of a script, given by its text, its SHA-1 or the name of a
/// function, may change something: only one that says so may not.
fn script_may_write(server: &Server, command: &Command, name: &[u8]) -> bool {
    let scripting = &server.scripting;
    let flags = match command.name {
        "eval" => Script::parse([0; 40], name).ok().and_then(|s| s.flags),
        "evalsha" => parse_sha(name)
            .and_then(|sha| scripting.scripts.lock().get(&sha))
            .and_then(|script| script.flags),
        "fcall" => {
            let found = scripting.libraries.read().function(name);
            found.map(|(library, number)| library.functions[number].flags)
        }
        _ => return false,
    };
    !flags.is_some_and(|flags| flags.no_writes)
}

/// Begins a pause or makes it longer. One that is on is neither shortened nor
/// made less strict.
pub fn begin(server: &Server, until_ms: i64, writes_only: bool, now_ms: i64) {
    let strict = is_on(server, now_ms) && !server.pause_writes_only.load(Ordering::Relaxed);
    server
        .pause_writes_only
        .store(writes_only && !strict, Ordering::Relaxed);
    server.pause_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    // Who locks a stripe from now on looks again.
    server.gate_version.fetch_add(1, Ordering::Release);
}

/// Ends the pause.
pub fn end(server: &Server) {
    server.pause_until_ms.store(0, Ordering::Relaxed);
    server.unpaused.notify_waiters();
}
