//! One run of a script: on a stack of its own, so that it can be set aside,
//! and so that deep recursion in native code stays far from the worker's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::again::{Recall, wait_for_all};
use super::busy::LongScript;
use super::effects_log::EffectsLog;
use super::engine::Engine;
use super::helper;
pub use super::invocation::{Abort, Flags, Invocation, What, has_effects};
use super::protect::execute;
use super::round::{End, Round};
use crate::clock::Ticks;
use crate::cluster::settled::Settled;
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::CommandError;
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::connection::serve::answer_script;
use crate::connection::session::Session;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;
use redoubt_cluster::slots::Slot;

/// A script that runs for longer is set aside.
const SLICE: Duration = Duration::from_millis(5);
/// A run under way, as native functions see it.
pub struct Run {
    /// The context of its commands.
    pub ctx: *mut Context<'static>,
    /// It may not write.
    pub read_only: bool,
    /// It may go on when memory is full.
    pub allow_oom: bool,
    /// It may use keys of several slots, in a cluster.
    pub several_slots: bool,
    /// The slot of its keys, once it is known and needed.
    pub slot: Option<Slot>,
    /// In a cluster: what was found out about its keys.
    pub settled: Settled,
    /// Called by EVAL, not FCALL.
    pub is_eval: bool,
    /// It has called a command that writes, or tells others something.
    pub wrote: bool,
    /// It had its first stripe in a pause.
    pub late: bool,
    /// Its commands' effects so far.
    pub log: EffectsLog,
    /// Expired keys that are in `log`.
    pub expired_logged: usize,
    /// Changes so far.
    pub dirty: u64,
    /// Why it must end.
    pub abort: Option<Abort>,
    /// The version of RESP that its commands answer in.
    pub resp: Protocol,
    /// Its own time: it stands still while it runs.
    pub now_ms: i64,
    started: Ticks,
    yielder: *const Yielder<(), ()>,
    /// Once it has run for long: how others see it.
    pub long: Option<Arc<LongScript>>,
    command: *const [&'static [u8]],
    /// It declared no keys, so it may use any.
    pub claims_all: bool,
    /// What runs.
    pub what: What,
    /// It is the roaming script that may write.
    pub claimed: bool,
    /// It runs inside a transaction, which cannot be set aside.
    pub nested: bool,
}

impl Run {
    /// The context of its commands.
    #[inline]
    pub fn ctx<'a>(&mut self) -> &'a mut Context<'static> {
        // SAFETY: `execute` sets the pointer to the context that lives in its
        // caller's frame, and takes the run away before that ends. Native
        // functions use it one at a time.
        unsafe { &mut *self.ctx }
    }

    /// Looks at the clock: sets a long script aside, and tells whether it must
    /// end.
    pub fn tick(&mut self) -> Option<Abort> {
        if self.abort.is_some() {
            return self.abort;
        }
        match &self.long {
            None if self.elapsed() > SLICE => self.grow_long(),
            None => {}
            Some(long) => {
                long.note(self.wrote);
                self.abort = long.killed();
            }
        }
        self.abort
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.started.elapsed_nanos())
    }

    #[cold]
    fn grow_long(&mut self) {
        let ctx = self.ctx();
        // SAFETY: the command's arguments are alive until the first suspension.
        let command = unsafe { &*self.command };
        let now = Instant::now();
        let started = now.checked_sub(self.elapsed()).unwrap_or(now);
        let long = LongScript::new(
            self.what.name(),
            command.iter().map(|arg| arg.to_vec()).collect(),
            self.is_eval,
            self.claims_all,
            started,
        );
        long.hold(ctx.db.held());
        long.note(self.wrote);
        ctx.server.scripting.running.add(&long);
        self.long = Some(long);
        if !self.nested && !self.yielder.is_null() && helper::prepare() {
            // SAFETY: the yielder lives on the stack of this very coroutine.
            unsafe { (*self.yielder).suspend(()) };
        }
    }
}

/// What a run leaves behind.
pub struct Outcome {
    engine: Box<Engine>,
    reply: Vec<u8>,
    end: End,
}

/// A script that was set aside.
pub struct Detached {
    task: Task,
    server: &'static Server,
    started: Ticks,
}

struct Task(Coroutine<(), (), Outcome>);

// SAFETY: what lives on the coroutine's stack is reached by the thread that
// resumes it only. It holds stripes (raw mutexes, which any thread may
// unlock), an engine (Send), and a session whose client is shared.
unsafe impl Send for Task {}

/// Pointers to what the caller of `invoke` lends until the first suspension.
struct Lent {
    invocation: *const Invocation<'static>,
    session: *mut Session,
}

/// Runs a script for EVAL or FCALL, and writes its reply. True if that is an
/// error.
pub fn invoke(
    ctx: &mut Context<'_>,
    mut engine: Box<Engine>,
    invocation: &Invocation<'_>,
) -> Result<bool, CommandError> {
    let server = ctx.server;
    if let Err(error) = super::call::check_before(ctx, invocation) {
        engine.give_back(&server.scripting);
        return Err(error);
    }
    if ctx.in_transaction {
        return nested(ctx, engine, invocation);
    }
    let mut all = false;
    let started = Ticks::now();
    loop {
        if all && !super::again::may_have_all(server) {
            ctx.session.postponed = true;
            engine.give_back(&server.scripting);
            return Ok(false);
        }
        server.scripting.active.fetch_add(1, Ordering::Relaxed);
        let mut task = start(ctx, engine, invocation, all)?;
        match task.0.resume(()) {
            CoroutineResult::Yield(()) => {
                ctx.session.detached = Some(Detached {
                    task,
                    server,
                    started,
                });
                ctx.block = Some(BlockRequest {
                    keys: Vec::new(),
                    timeout_ms: 0,
                    args: None,
                    on_timeout: TimeoutReply::Script,
                });
                return Ok(false);
            }
            CoroutineResult::Return(outcome) => {
                server.scripting.active.fetch_sub(1, Ordering::Relaxed);
                engine = outcome.engine;
                engine.stack = Some(task.0.into_stack());
                let failed = match outcome.end {
                    End::Restart => {
                        all = true;
                        continue;
                    }
                    End::Postponed => {
                        ctx.session.postponed = true;
                        false
                    }
                    End::Replied { failed } => {
                        ctx.reply.raw(&outcome.reply);
                        failed
                    }
                };
                engine.keep_buffer(outcome.reply);
                engine.give_back(&server.scripting);
                return Ok(failed);
            }
        }
    }
}

/// Makes the coroutine that runs a script by itself.
fn start(
    ctx: &mut Context<'_>,
    mut engine: Box<Engine>,
    invocation: &Invocation<'_>,
    all: bool,
) -> Result<Task, CommandError> {
    let Some(stack) = engine.take_stack() else {
        ctx.server.scripting.active.fetch_sub(1, Ordering::Relaxed);
        if all {
            ctx.server.scripting.roaming.give_back();
        }
        return Err(no_stack());
    };
    let lent = Lent {
        invocation: (&raw const *invocation).cast(),
        session: &raw mut *ctx.session,
    };
    let (server, now_ms, protocol) = (ctx.server, ctx.now_ms(), ctx.reply.protocol);
    Ok(Task(Coroutine::with_stack(stack, move |yielder, ()| {
        alone(server, engine, &lent, now_ms, protocol, yielder, all)
    })))
}

fn no_stack() -> CommandError {
    CommandError::text("OOM no memory for a script's stack")
}

/// The body of a script's coroutine.
fn alone(
    server: &'static Server,
    mut engine: Box<Engine>,
    lent: &Lent,
    now_ms: i64,
    protocol: Protocol,
    yielder: &Yielder<(), ()>,
    all: bool,
) -> Outcome {
    // SAFETY: `invoke` keeps both alive until the first suspension, and
    // nothing below uses them after it: keys and arguments are Lua's by then.
    let (invocation, caller) = unsafe { (&*lent.invocation, &*lent.session) };
    let mut session = Session::for_script(caller);
    let db_index = session.db;
    let mut output = ReplyBuffer {
        buf: engine.lend_buffer(),
        protocol,
    };
    let mut round = Round {
        server,
        now_ms,
        yielder,
        all,
        long: None,
        what: None,
    };
    let recall = Recall::of(invocation);
    let mut end = round.run(&mut engine, &mut session, invocation, &mut output);
    if let Some(long) = round.long.clone() {
        if let (End::Restart, Some(what)) = (end, round.what.take()) {
            // By now it is on a thread of its own, and `invocation` is gone.
            let words: Vec<&[u8]> = long.command.iter().map(Vec::as_slice).collect();
            let again = recall.invocation(what, &words);
            while end == End::Restart {
                session.gate_version = Some(server.gate_version.load(Ordering::Acquire));
                round.all = wait_for_all(server, &long, &again);
                session.db = db_index;
                output.truncate(0);
                end = round.run(&mut engine, &mut session, &again, &mut output);
            }
        }
        server.scripting.running.remove(&long);
        server.unpaused.notify_waiters();
    }
    Outcome {
        engine,
        reply: output.buf,
        end,
    }
}

impl Run {
    /// A run of an invocation; nested where nobody can set it aside.
    pub fn new(
        server: &Server,
        invocation: &Invocation<'_>,
        log: EffectsLog,
        yielder: *const Yielder<(), ()>,
    ) -> Run {
        let key = server.cluster.as_ref().and(invocation.keys.first());
        let flags = invocation.flags();
        #[expect(clippy::unnecessary_cast, reason = "it forgets the lifetime")]
        let command = std::ptr::from_ref(invocation.command) as *const [&'static [u8]];
        Run {
            ctx: std::ptr::null_mut(),
            read_only: !invocation.may_write(),
            allow_oom: flags.is_some_and(|flags| flags.allow_oom),
            // One without a first line of its own is as old scripts were.
            several_slots: flags.is_none_or(|flags| flags.allow_cross_slot_keys),
            slot: key.map(|key| Slot::of_key(key)),
            settled: Settled::default(),
            is_eval: matches!(invocation.what, What::Script(_)),
            wrote: false,
            late: false,
            log,
            expired_logged: 0,
            dirty: 0,
            abort: None,
            resp: Protocol::Resp2,
            now_ms: 0,
            started: Ticks::now(),
            yielder,
            long: None,
            command,
            claims_all: invocation.keys.is_empty(),
            what: invocation.what.clone(),
            claimed: false,
            nested: yielder.is_null(),
        }
    }
}

/// Runs a script within EXEC: under its locks, as a part of its effects.
fn nested(
    ctx: &mut Context<'_>,
    mut engine: Box<Engine>,
    invocation: &Invocation<'_>,
) -> Result<bool, CommandError> {
    let server = ctx.server;
    let index = ctx.session.db;
    let protocol = ctx.reply.protocol;
    let log = EffectsLog::new(index, Vec::new());
    let mut run = Run::new(server, invocation, log, std::ptr::null());
    run.now_ms = ctx.now_ms();
    run.settled.wrote = ctx.session.half_way;
    run.expired_logged = ctx.db.recorder.expired.len();
    let mut output = std::mem::take(ctx.reply);
    let mark = output.len();
    let failed = engine.on_stack(|engine| execute(engine, &mut run, ctx, invocation, &mut output));
    *ctx.reply = output;
    ctx.reply.protocol = protocol;
    ctx.session.db = index;
    ctx.session.client.db.store(index, Ordering::Relaxed);
    ctx.db.select(index);
    ctx.db.recorder.dirty = run.dirty;
    ctx.effects = Effects::default();
    let (effects, count) = run.log.finish();
    ctx.effects.add_encoded(&effects, count);
    if let Some(long) = &run.long {
        server.scripting.running.remove(long);
        server.unpaused.notify_waiters();
    }
    engine.give_back(&server.scripting);
    let failed = failed.ok_or_else(no_stack)?;
    debug_assert!(ctx.reply.len() > mark);
    Ok(failed)
}

impl Detached {
    /// Goes on with the script on a thread of its own, and answers its client.
    pub fn go_on(self, waiter: Arc<crate::connection::blocking::Waiter>) {
        helper::run(move || self.finish(&waiter));
    }

    fn finish(mut self, waiter: &Arc<crate::connection::blocking::Waiter>) {
        let outcome = loop {
            match self.task.0.resume(()) {
                CoroutineResult::Yield(()) => {}
                CoroutineResult::Return(outcome) => break outcome,
            }
        };
        let server = self.server;
        server.scripting.active.fetch_sub(1, Ordering::Relaxed);
        outcome.engine.discard(&server.scripting);
        let reply = &outcome.reply;
        let failed = outcome.end != End::Replied { failed: false };
        answer_script(server, waiter, reply, failed, self.started);
    }
}
