//! Scripts that have run for long: what they hold, and how they are ended.
//! Others' commands that need what such a script holds wait, and once it has
//! passed `busy-reply-threshold` they are answered with BUSY.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::line::{ENDLESS, PutOff};
use super::run::Abort;
use crate::commands::command::{Command, flag};
use crate::commands::error::CommandError;
use crate::connection::session::Session;
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::state::Server;

const BUSY_EVAL: &str =
    "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const BUSY_FUNCTION: &str =
    "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

/// A script that has run for long.
pub struct LongScript {
    /// SHA-1 or the function's name.
    pub name: String,
    /// The command that called it.
    pub command: Vec<Vec<u8>>,
    /// Called by EVAL, not FCALL.
    pub is_eval: bool,
    /// When it began.
    pub started: Instant,
    held: [AtomicU64; STRIPES / 64],
    /// It declared no keys, so it may use any.
    claims_all: bool,
    wrote: AtomicBool,
    kill: AtomicU8,
}

impl LongScript {
    /// A script that holds nothing yet.
    pub fn new(
        name: String,
        command: Vec<Vec<u8>>,
        is_eval: bool,
        claims_all: bool,
        started: Instant,
    ) -> Arc<LongScript> {
        Arc::new(LongScript {
            name,
            command,
            is_eval,
            started,
            held: Default::default(),
            claims_all,
            wrote: AtomicBool::new(false),
            kill: AtomicU8::new(0),
        })
    }

    /// Tells which stripes it holds.
    pub fn hold(&self, stripes: StripeSet) {
        for (mine, word) in self.held.iter().zip(stripes.words()) {
            mine.store(word, Ordering::Release);
        }
    }

    /// Tells whether it has written.
    pub fn note(&self, wrote: bool) {
        if wrote {
            self.wrote.store(true, Ordering::Release);
        }
    }

    /// Whether it is to end.
    pub fn killed(&self) -> Option<Abort> {
        match self.kill.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Abort::ScriptKill),
            _ => Some(Abort::FunctionKill),
        }
    }

    fn holds_any(&self, stripes: StripeSet) -> bool {
        let held = self.held.iter().map(|word| word.load(Ordering::Acquire));
        held.zip(stripes.words())
            .any(|(mine, theirs)| mine & theirs != 0)
    }

    fn busy_error(&self) -> CommandError {
        CommandError::text(match self.is_eval {
            true => BUSY_EVAL,
            false => BUSY_FUNCTION,
        })
    }
}

/// The scripts that have run for long.
#[derive(Default)]
pub struct Running {
    scripts: Mutex<Vec<Arc<LongScript>>>,
    count: AtomicUsize,
}

/// What a command is to do in the face of long scripts.
pub enum Verdict {
    /// Run.
    Free,
    /// Try again in a moment.
    Wait,
    /// Answer this.
    Busy(CommandError),
}

impl Running {
    /// Whether there is any.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Adds one.
    pub fn add(&self, script: &Arc<LongScript>) {
        let mut scripts = self.scripts.lock();
        scripts.push(script.clone());
        self.count.store(scripts.len(), Ordering::Release);
    }

    /// Removes one that has ended.
    pub fn remove(&self, script: &Arc<LongScript>) {
        let mut scripts = self.scripts.lock();
        scripts.retain(|other| !Arc::ptr_eq(other, script));
        self.count.store(scripts.len(), Ordering::Release);
    }

    /// The one that has run for longest.
    pub fn first(&self) -> Option<Arc<LongScript>> {
        self.scripts.lock().first().cloned()
    }

    /// Those that pass the threshold.
    fn busy(&self, threshold: Duration) -> Option<Arc<LongScript>> {
        let scripts = self.scripts.lock();
        let mut busy = scripts.iter().filter(|s| s.started.elapsed() >= threshold);
        busy.next().cloned()
    }

    /// SCRIPT KILL and FUNCTION KILL: ends a script of the kind that has not
    /// written.
    pub fn kill(&self, server: &Server, eval: bool) -> Result<(), CommandError> {
        let scripts = self.scripts.lock();
        if scripts.is_empty() {
            return Err(CommandError::text(NOT_BUSY));
        }
        let threshold = threshold(server);
        let fitting = scripts.iter().filter(|script| script.is_eval == eval);
        let mut killable = fitting.clone().filter(|s| !s.wrote.load(Ordering::Acquire));
        // Rather one that is not about to end already.
        let alive = |script: &&Arc<LongScript>| script.killed().is_none();
        if let Some(script) = killable.clone().find(alive).or(killable.next()) {
            let how = if eval { 1 } else { 2 };
            script.kill.store(how, Ordering::Release);
            return Ok(());
        }
        if fitting.clone().next().is_some() {
            return Err(CommandError::text(UNKILLABLE));
        }
        let other = scripts.iter().find(|s| s.started.elapsed() >= threshold);
        Err(match other {
            None => CommandError::text(NOT_BUSY),
            Some(script) if script.wrote.load(Ordering::Acquire) => CommandError::text(UNKILLABLE),
            Some(script) => script.busy_error(),
        })
    }

    /// What a command is to do; asked when there is any long script, or anybody
    /// stands in line.
    #[cold]
    pub fn verdict(
        &self,
        server: &Server,
        session: &Session,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Verdict {
        if command.has(flag::ALLOW_BUSY) {
            return Verdict::Free;
        }
        let needed = needed_by(session, command, args);
        let threshold = threshold(server);
        let mut wait = false;
        for script in self.scripts.lock().iter() {
            let touches = script.holds_any(needed);
            if script.started.elapsed() >= threshold && (script.claims_all || touches) {
                return Verdict::Busy(script.busy_error());
            }
            wait |= touches;
        }
        if wait || has_to_queue(server, session, command, args) {
            return Verdict::Wait;
        }
        Verdict::Free
    }

    /// Whether any holds one of these stripes.
    pub fn hold_any(&self, stripes: StripeSet) -> bool {
        let scripts = self.scripts.lock();
        scripts.iter().any(|script| script.holds_any(stripes))
    }

    /// Whether one that may go on for ever does.
    pub fn is_endless(&self, stripes: StripeSet) -> bool {
        let scripts = self.scripts.lock();
        scripts
            .iter()
            .any(|script| script.started.elapsed() >= ENDLESS && script.holds_any(stripes))
    }

    /// The error of FUNCTION STATS where EVAL keeps everybody out.
    pub fn is_blocked_by_eval(&self, server: &Server) -> Option<CommandError> {
        let script = self.busy(threshold(server))?;
        (script.is_eval && script.claims_all).then(|| script.busy_error())
    }

    /// The error for a command that cannot say more while a script is busy.
    pub fn busy_error(&self, server: &Server) -> Option<CommandError> {
        self.busy(threshold(server))
            .map(|script| script.busy_error())
    }
}

/// How long a script may run before others are told that it is busy.
pub fn threshold(server: &Server) -> Duration {
    let config = server.config.read();
    let ms = config.integer(crate::config::id("busy-reply-threshold"));
    match ms {
        0 => Duration::MAX,
        ms => Duration::from_millis(ms.max(0) as u64),
    }
}

/// The stripes that a command of a client may lock.
fn needed_by(session: &Session, command: &'static Command, args: &[&[u8]]) -> StripeSet {
    if calls_script(command) {
        let mut stripes = StripeSet::default();
        crate::commands::keys::each_key(command, args, |at, _| {
            stripes.add(crate::keyspace::KeyRef::new(args[at]).stripe());
        });
        return stripes;
    }
    if command.name != "exec" {
        return match session.transaction {
            // Only queued, or none of its own.
            Some(_) => StripeSet::default(),
            None => super::locks::needed(command, args),
        };
    }
    let mut stripes = StripeSet::default();
    for queued in session.transaction.iter().flat_map(|t| &t.queued) {
        let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
        stripes.add_all(super::locks::needed(queued.command, &args));
    }
    for (_, key) in &session.watched {
        stripes.add(crate::keyspace::KeyRef::new(key).stripe());
    }
    stripes
}

fn calls_script(command: &Command) -> bool {
    matches!(
        command.name,
        "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro"
    )
}

/// The stripes that a request waits for when it is put off.
fn awaited_by(session: &Session, command: &'static Command, args: &[&[u8]]) -> StripeSet {
    match needed_by(session, command, args) {
        // A script without keys may use any.
        none if calls_script(command) && none == StripeSet::default() => StripeSet::ALL,
        stripes => stripes,
    }
}

/// Whether a request is to run scripts and others go before it.
fn has_to_queue(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> bool {
    let (running, line) = (&server.scripting.running, &server.scripting.line);
    let runs_scripts = match &session.transaction {
        None => calls_script(command),
        Some(open) => command.name == "exec" && open.queued.iter().any(|q| calls_script(q.command)),
    };
    if !runs_scripts || !line.any() {
        return false;
    }
    let place = session.put_off.as_deref().map_or(u64::MAX, PutOff::number);
    line.is_before(place, awaited_by(session, command, args), running)
}

/// Notes that a request has been put off, and has it stand in line once that has
/// gone on for a while.
#[cold]
pub fn put_off(
    server: &'static Server,
    session: &mut Session,
    command: &'static Command,
    args: &[&[u8]],
) {
    let put_off = session.put_off.take();
    let mut put_off = put_off.unwrap_or_else(|| Box::new(PutOff::begin()));
    if put_off.is_impatient() {
        put_off.line_up(server, awaited_by(session, command, args));
    }
    session.put_off = Some(put_off);
}

/// Whether a command's stripes can be had soon. Asked while any script is
/// under way, for one that goes on for ever must not hold up a worker.
#[cold]
pub fn can_lock(server: &Server, stripes: StripeSet) -> bool {
    const PATIENCE: Duration = Duration::from_millis(10);
    server.keyspace.try_lock(stripes, PATIENCE).is_some()
}
