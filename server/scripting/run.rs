//! One run of a script: on a stack of its own, so that it can be set aside,
//! and so that deep recursion in native code stays far from the worker's.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::busy::LongScript;
use super::cache::Script;
use super::convert::{push_array, write_failure, write_reply};
use super::effects_log::EffectsLog;
use super::engine::{Engine, STACK_BYTES};
use super::library::Library;
use super::lua::{Lua, Native, native};
use crate::clock::Ticks;
use crate::commands::command::flag;
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::CommandError;
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::connection::dispatch::{after, break_watches, open_db, reply_error};
use crate::connection::serve::answer_script;
use crate::connection::session::Session;
use crate::keyspace::KeyRef;
use crate::keyspace::stripe::StripeSet;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// A script that runs for longer is set aside.
const SLICE: Duration = Duration::from_millis(5);
/// Instructions between two looks at the clock.
const HOOK_INSTRUCTIONS: i32 = 20_000;

/// What a script's first line or a function's registration says about it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Flags {
    pub no_writes: bool,
    pub allow_oom: bool,
    pub allow_stale: bool,
    pub no_cluster: bool,
    pub allow_cross_slot_keys: bool,
}

impl Flags {
    /// Sets a flag by its name; false if there is none of that name.
    pub fn set(&mut self, name: &[u8]) -> bool {
        match name {
            b"no-writes" => self.no_writes = true,
            b"allow-oom" => self.allow_oom = true,
            b"allow-stale" => self.allow_stale = true,
            b"no-cluster" => self.no_cluster = true,
            b"allow-cross-slot-keys" => self.allow_cross_slot_keys = true,
            _ => return false,
        }
        true
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.no_writes, "no-writes"),
            (self.allow_oom, "allow-oom"),
            (self.allow_stale, "allow-stale"),
            (self.no_cluster, "no-cluster"),
            (self.allow_cross_slot_keys, "allow-cross-slot-keys"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// What is called.
pub enum What {
    /// A script of EVAL.
    Script(Arc<Script>),
    /// A function of a library, by its number there.
    Function(Arc<Library>, usize),
}

/// A call of a script or function.
pub struct Invocation<'a> {
    /// The script or function.
    pub what: What,
    /// Where its function is in the interpreter's registry.
    pub function: i32,
    /// KEYS.
    pub keys: &'a [&'a [u8]],
    /// ARGV.
    pub args: &'a [&'a [u8]],
    /// The command that called it.
    pub command: &'a [&'a [u8]],
    /// It was called by a command that only reads.
    pub read_only: bool,
}

/// Why a run is ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abort {
    /// SCRIPT KILL.
    ScriptKill,
    /// FUNCTION KILL.
    FunctionKill,
    /// It must begin again, with all stripes locked.
    Restart,
}

/// A run under way, as native functions see it.
pub struct Run {
    /// The context of its commands.
    pub ctx: *mut Context<'static>,
    /// It may not write.
    pub read_only: bool,
    /// It may go on when memory is full.
    pub allow_oom: bool,
    /// Called by EVAL, not FCALL.
    pub is_eval: bool,
    /// It has called a command that writes, or tells others something.
    pub wrote: bool,
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
    started: Instant,
    yielder: *const Yielder<(), ()>,
    /// Once it has run for long: how others see it.
    pub long: Option<Arc<LongScript>>,
    name: String,
    command: *const [&'static [u8]],
    claims_all: bool,
    /// Stripes of the keys that it declared.
    pub declared: StripeSet,
    /// It runs inside a transaction, which cannot be set aside.
    nested: bool,
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
            None if self.started.elapsed() > SLICE => self.grow_long(),
            None => {}
            Some(long) => {
                long.note(self.wrote);
                self.abort = long.killed();
            }
        }
        self.abort
    }

    #[cold]
    fn grow_long(&mut self) {
        let ctx = self.ctx();
        // SAFETY: the command's arguments are alive until the first suspension.
        let command = unsafe { &*self.command };
        let long = LongScript::new(
            self.name.clone(),
            command.iter().map(|arg| arg.to_vec()).collect(),
            self.is_eval,
            self.claims_all,
            self.started,
        );
        long.hold(ctx.db.held());
        long.note(self.wrote);
        ctx.server.scripting.running.add(&long);
        self.long = Some(long);
        if !self.nested && !self.yielder.is_null() {
            // SAFETY: the yielder lives on the stack of this very coroutine.
            unsafe { (*self.yielder).suspend(()) };
        }
    }
}

/// What a run leaves behind.
pub struct Outcome {
    engine: Box<Engine>,
    reply: Vec<u8>,
    failed: bool,
    restart: bool,
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
                    on_timeout: TimeoutReply::Null,
                });
                return Ok(false);
            }
            CoroutineResult::Return(outcome) => {
                server.scripting.active.fetch_sub(1, Ordering::Relaxed);
                engine = outcome.engine;
                engine.stack = Some(task.0.into_stack());
                if outcome.restart {
                    all = true;
                    continue;
                }
                ctx.reply.raw(&outcome.reply);
                engine.give_back(&server.scripting);
                return Ok(outcome.failed);
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
    let stack = engine
        .stack
        .take()
        .or_else(|| corosensei::stack::DefaultStack::new(STACK_BYTES).ok());
    let Some(stack) = stack else {
        ctx.server.scripting.active.fetch_sub(1, Ordering::Relaxed);
        return Err(CommandError::text("OOM no memory for a script's stack"));
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

/// The body of a script's coroutine: locks, runs, logs, unlocks.
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
    let client = session.client.clone();
    let mut declared = StripeSet::default();
    for key in invocation.keys {
        declared.add(KeyRef::new(key).stripe());
    }
    let stripes = if all { StripeSet::ALL } else { declared };
    let db = open_db(server, &session, stripes, now_ms);
    let mut calls = ReplyBuffer::new(Protocol::Resp2);
    let mut output = ReplyBuffer::new(protocol);
    let mut ctx = Context {
        server,
        session: &mut session,
        db,
        reply: &mut calls,
        effects: Effects::default(),
        in_transaction: true,
        holds_all: all,
        block: None,
    };
    let mut run = Run::new(invocation, db_index, declared, yielder);
    run.now_ms = now_ms;
    let failed = execute(&mut engine, &mut run, &mut ctx, invocation, &mut output);
    let Context { db, session, .. } = ctx;
    let restart = run.abort == Some(Abort::Restart);
    let recorder = conclude(server, db, &mut run);
    client.db.store(db_index, Ordering::Relaxed);
    after(server, session, recorder);
    session.tally.flush(&server.stats);
    if let Some(long) = &run.long {
        server.scripting.running.remove(long);
        server.unpaused.notify_waiters();
    }
    Outcome {
        engine,
        reply: output.buf,
        failed,
        restart,
    }
}

/// Logs what a script did, in one piece, and unlocks.
fn conclude(
    server: &Server,
    mut db: crate::keyspace::db::Db<'_>,
    run: &mut Run,
) -> crate::keyspace::recorder::Recorder {
    db.recorder.dirty = run.dirty;
    let recorder = std::mem::take(&mut db.recorder);
    if server.log().is_some() {
        let keys = crate::keyspace::recorder::expired_keys(&recorder.expired);
        crate::stats::add(&server.stats.expired, keys);
    }
    run.log.append_to(server);
    if server.watches.any() {
        break_watches(server, &recorder);
    }
    drop(db);
    recorder
}

impl Run {
    fn new(
        invocation: &Invocation<'_>,
        db_index: u32,
        declared: StripeSet,
        yielder: *const Yielder<(), ()>,
    ) -> Run {
        let (flags, name) = match &invocation.what {
            What::Script(script) => {
                let name = String::from_utf8_lossy(&script.sha).into_owned();
                (script.flags, name)
            }
            What::Function(library, number) => {
                let function = &library.functions[*number];
                (Some(function.flags), function.name.clone())
            }
        };
        let no_writes = flags.is_some_and(|flags| flags.no_writes);
        Run {
            ctx: std::ptr::null_mut(),
            read_only: invocation.read_only || no_writes,
            allow_oom: flags.is_some_and(|flags| flags.allow_oom),
            is_eval: matches!(invocation.what, What::Script(_)),
            wrote: false,
            log: EffectsLog::new(db_index),
            expired_logged: 0,
            dirty: 0,
            abort: None,
            resp: Protocol::Resp2,
            now_ms: 0,
            started: Instant::now(),
            yielder,
            long: None,
            name,
            command: std::ptr::from_ref(invocation.command) as *const [&'static [u8]],
            claims_all: invocation.keys.is_empty(),
            declared,
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
    let mut run = Run::new(invocation, index, StripeSet::ALL, std::ptr::null());
    run.now_ms = ctx.now_ms();
    run.expired_logged = ctx.db.recorder.expired.len();
    let mut output = std::mem::take(ctx.reply);
    let mark = output.len();
    let failed = execute(&mut engine, &mut run, ctx, invocation, &mut output);
    *ctx.reply = output;
    ctx.reply.protocol = protocol;
    ctx.session.db = index;
    ctx.session.client.db.store(index, Ordering::Relaxed);
    ctx.db.select(index);
    ctx.db.recorder.dirty = run.dirty;
    ctx.effects = Effects::default();
    ctx.effects.add_encoded(&run.log.finish());
    if let Some(long) = &run.long {
        server.scripting.running.remove(long);
        server.unpaused.notify_waiters();
    }
    engine.give_back(&server.scripting);
    debug_assert!(ctx.reply.len() > mark);
    Ok(failed)
}

/// What the protected call gets.
struct Job<'a> {
    invocation: &'a Invocation<'a>,
    handler: i32,
    output: &'a mut ReplyBuffer,
    failed: bool,
}

/// Calls the function and writes its reply. True if it failed.
fn execute(
    engine: &mut Engine,
    run: &mut Run,
    ctx: &mut Context<'_>,
    invocation: &Invocation<'_>,
    output: &mut ReplyBuffer,
) -> bool {
    run.ctx = (&raw mut *ctx).cast();
    ctx.session.in_script = true;
    ctx.reply.protocol = Protocol::Resp2;
    let (lua, handler) = (engine.lua(), engine.handler);
    engine.owner().run = run;
    set_hook(lua, false);
    let mark = output.len();
    let mut job = Job {
        invocation,
        handler,
        output,
        failed: false,
    };
    let done = lua.protected(native!(call_job), (&raw mut job).cast::<c_void>());
    let mut failed = job.failed;
    if !done {
        // Only memory can end the job itself.
        lua.set_top(0);
        output.truncate(mark);
        let text = CommandError::text("OOM not enough memory for the script");
        reply_error(ctx.server, output, &text);
        failed = true;
    }
    clear_hook(lua);
    engine.owner().run = std::ptr::null_mut();
    ctx.session.in_script = false;
    failed
}

/// The protected part of a run.
fn call_job(lua: Lua) -> Native {
    // SAFETY: `execute` passes the address of a job that outlives the call.
    let job = unsafe { &mut *lua.pointer(1).cast::<Job<'_>>() };
    lua.set_top(0);
    lua.raw_get_at(super::lua::REGISTRY, job.handler);
    lua.raw_get_at(super::lua::REGISTRY, job.invocation.function);
    push_array(lua, job.invocation.keys);
    let called = match job.invocation.what {
        What::Script(_) => {
            super::sandbox::set_global(lua, "KEYS");
            push_array(lua, job.invocation.args);
            super::sandbox::set_global(lua, "ARGV");
            lua.protected_call(0, 1, 1)
        }
        What::Function(..) => {
            push_array(lua, job.invocation.args);
            lua.protected_call(2, 1, 1)
        }
    };
    clear_hook(lua);
    let Some(run) = super::engine::run_of(lua) else {
        return Ok(0);
    };
    let server = run.ctx().server;
    job.failed = match called {
        true => write_reply(lua, server, job.output),
        false => {
            write_failure(lua, server, job.output);
            true
        }
    };
    lua.set_top(0);
    Ok(0)
}

/// Has the clock looked at now and then; `always`: before each line, so that a
/// script cannot catch its end.
pub fn set_hook(lua: Lua, always: bool) {
    let (mask, count) = match always {
        true => (mlua_sys::LUA_MASKLINE, 0),
        false => (mlua_sys::LUA_MASKCOUNT, HOOK_INSTRUCTIONS),
    };
    // SAFETY: the hook is a function that keeps to its contract.
    unsafe { mlua_sys::lua_sethook(lua.raw(), Some(hook), mask, count) };
}

/// Ends what [`set_hook`] began.
pub fn clear_hook(lua: Lua) {
    // SAFETY: no hook needs nothing.
    unsafe { mlua_sys::lua_sethook(lua.raw(), None, 0, 0) };
}

unsafe extern "C-unwind" fn hook(state: *mut super::lua::lua_State, _: *mut mlua_sys::lua_Debug) {
    super::lua::enter(state, |lua| {
        let Some(run) = super::engine::run_of(lua) else {
            return super::register::check_time(lua).map(|()| 0);
        };
        match run.tick() {
            None => Ok(0),
            Some(abort) => Err(end(lua, abort)),
        }
    });
}

/// The error that ends a script, which it cannot catch for good.
pub fn end(lua: Lua, abort: Abort) -> super::lua::Raise {
    set_hook(lua, true);
    super::lua::Raise::Table(match abort {
        Abort::ScriptKill => "Script killed by user with SCRIPT KILL.",
        Abort::FunctionKill => "Script killed by user with FUNCTION KILL.",
        Abort::Restart => "The script begins again with all keys locked.",
    })
}

impl Detached {
    /// Goes on with the script on a thread of its own, and answers its client.
    pub fn go_on(self, waiter: Arc<crate::connection::blocking::Waiter>) {
        let spawned = std::thread::Builder::new()
            .name("script".into())
            .spawn(move || self.finish(&waiter));
        if let Err(error) = spawned {
            tracing::error!("no thread for a long script: {error}");
            std::process::abort();
        }
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
        let (reply, failed) = (&outcome.reply, outcome.failed);
        answer_script(server, waiter, reply, failed, self.started);
    }
}

/// Whether a command tells others something or changes something.
pub fn has_effects(flags: u32) -> bool {
    flags & (flag::WRITE | flag::MAY_REPLICATE | flag::PUBSUB) != 0
}
