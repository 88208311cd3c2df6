//! Pauses: which commands wait, and until when.
//!
//! Every purpose has a pause of its own, and ends no other's. In force is the
//! strictest of those that are on.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::session::Session;
use crate::commands::command::{Command, flag};
use crate::commands::table::Found;
use crate::scripting::cache::{Script, parse_sha};
use crate::state::{Server, unix_ms};

/// What a pause is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// CLIENT PAUSE.
    Client,
    /// FAILOVER.
    Failover,
    /// CLUSTER FAILOVER of one of our replicas.
    ManualFailover,
    /// SHUTDOWN, or a signal.
    Shutdown,
    /// DEBUG RELOAD, of which nobody is told.
    Reload,
}

/// How many purposes there are.
const PURPOSES: usize = 5;

/// The pause of one purpose: until when (Unix ms) writes wait, and until when
/// everything does.
#[derive(Clone, Copy, Default)]
struct Pause {
    writes_until_ms: i64,
    all_until_ms: i64,
}

/// All pauses.
#[derive(Default)]
pub struct Pauses {
    each: Mutex<[Pause; PURPOSES]>,
    /// The latest of `each`, for those who only look.
    writes_until_ms: AtomicI64,
    /// Likewise.
    all_until_ms: AtomicI64,
}

impl Pauses {
    /// Until when (Unix ms) writes wait; in the past if none does.
    #[inline]
    pub fn until_ms(&self) -> i64 {
        self.writes_until_ms.load(Ordering::Relaxed)
    }

    /// Whether a purpose's own pause is on.
    pub fn is_on_for(&self, purpose: Purpose, now_ms: i64) -> bool {
        self.until_ms() > now_ms && self.each.lock()[purpose as usize].writes_until_ms > now_ms
    }

    /// Whether everything waits.
    pub fn holds_all(&self, now_ms: i64) -> bool {
        self.all_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Until when (Unix ms) what waits now does at least, unless it is told.
    pub fn next_end_ms(&self, now_ms: i64) -> i64 {
        match self.all_until_ms.load(Ordering::Relaxed) {
            all if all > now_ms => all,
            _ => self.until_ms(),
        }
    }

    /// The purpose whose pause is in force: the strictest, of these the longest.
    /// None of a reload's alone.
    pub fn in_force(&self, now_ms: i64) -> Option<Purpose> {
        use Purpose::{Client, Failover, ManualFailover, Shutdown};
        let each = *self.each.lock();
        let pauses = [Client, Failover, ManualFailover, Shutdown].map(|p| (p, each[p as usize]));
        let on = pauses
            .into_iter()
            .filter(|(_, p)| p.writes_until_ms > now_ms);
        on.max_by_key(|(_, p)| (p.all_until_ms > now_ms, p.writes_until_ms))
            .map(|(purpose, _)| purpose)
    }

    fn begin(&self, purpose: Purpose, until_ms: i64, writes_only: bool, now_ms: i64) {
        self.change(purpose, |pause| {
            let strict = pause.all_until_ms > now_ms || !writes_only;
            pause.writes_until_ms = pause.writes_until_ms.max(until_ms);
            if strict {
                pause.all_until_ms = pause.writes_until_ms;
            }
        });
    }

    fn end(&self, purpose: Purpose) {
        self.change(purpose, |pause| *pause = Pause::default());
    }

    fn change(&self, purpose: Purpose, change: impl FnOnce(&mut Pause)) {
        let mut each = self.each.lock();
        change(&mut each[purpose as usize]);
        let latest = |of: fn(&Pause) -> i64| each.iter().map(of).max().unwrap_or(0);
        self.all_until_ms
            .store(latest(|pause| pause.all_until_ms), Ordering::Relaxed);
        self.writes_until_ms
            .store(latest(|pause| pause.writes_until_ms), Ordering::Relaxed);
    }
}

/// Whether a pause is on, of writes at least.
#[inline]
pub fn is_on(server: &Server, now_ms: i64) -> bool {
    server.pauses.until_ms() > now_ms
}

/// Whether a command has to wait while a pause is on. A command that would be
/// refused anyway is answered at once.
pub fn holds(server: &Server, session: &Session, found: Option<Found>, args: &[&[u8]]) -> bool {
    let Some(Found { command, .. }) = found else {
        return false;
    };
    if !server.pauses.holds_all(unix_ms()) && !may_write(server, session, command, args) {
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

/// The same of a command that a script may be behind, too.
pub fn may_have_effects(command: &Command) -> bool {
    has_effects(command) || matches!(command.name, "eval" | "evalsha" | "fcall")
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

/// Begins the pause of a purpose or makes it longer. One that is on is neither
/// shortened nor made less strict.
pub fn begin(server: &Server, purpose: Purpose, until_ms: i64, writes_only: bool, now_ms: i64) {
    server.pauses.begin(purpose, until_ms, writes_only, now_ms);
    // Who locks a stripe from now on looks again.
    server.gate_version.fetch_add(1, Ordering::Release);
}

/// Ends the pause of a purpose.
pub fn end(server: &Server, purpose: Purpose) {
    server.pauses.end(purpose);
    server.unpaused.notify_waiters();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_pause_is_in_force_and_each_ends_by_itself() {
        let pauses = Pauses::default();
        assert_eq!((pauses.until_ms(), pauses.in_force(1)), (0, None));
        pauses.begin(Purpose::Failover, 500, true, 1);
        pauses.begin(Purpose::Client, 100, false, 1);
        assert_eq!(pauses.in_force(1), Some(Purpose::Client));
        assert!(pauses.is_on_for(Purpose::Failover, 499));
        assert!(!pauses.is_on_for(Purpose::Failover, 500));
        assert!(!pauses.is_on_for(Purpose::ManualFailover, 1));
        assert!(pauses.holds_all(1) && pauses.next_end_ms(1) == 100);
        // Its time is over, the other's is not.
        assert_eq!(pauses.in_force(100), Some(Purpose::Failover));
        assert!(!pauses.holds_all(100) && pauses.next_end_ms(100) == 500);
        pauses.end(Purpose::Client);
        assert_eq!((pauses.until_ms(), pauses.holds_all(1)), (500, false));
        pauses.end(Purpose::Failover);
        assert_eq!((pauses.until_ms(), pauses.in_force(1)), (0, None));
    }

    #[test]
    fn a_pause_that_is_on_is_neither_shortened_nor_made_less_strict() {
        let pauses = Pauses::default();
        pauses.begin(Purpose::Client, 100, false, 1);
        pauses.begin(Purpose::Client, 50, true, 2);
        assert!(pauses.until_ms() == 100 && pauses.holds_all(99));
        pauses.begin(Purpose::Client, 200, true, 3);
        assert!(pauses.holds_all(199));
        pauses.begin(Purpose::Client, 300, true, 200);
        assert!(pauses.until_ms() == 300 && !pauses.holds_all(200));
    }
}
