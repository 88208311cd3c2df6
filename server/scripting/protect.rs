//! The protected part of a run: where Lua is called, and the hook that looks
//! at the clock meanwhile.

use std::ffi::c_void;

use super::convert::{push_array, write_failure, write_reply};
use super::engine::Engine;
use super::invocation::{Abort, Invocation, What};
use super::lua::{Lua, Native, Raise};
use super::run::Run;
use crate::commands::context::Context;
use crate::commands::error::CommandError;
use crate::connection::dispatch::reply_error;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;

/// Instructions between two looks at the clock.
const HOOK_INSTRUCTIONS: i32 = 20_000;

/// What the protected call gets.
struct Job<'a> {
    invocation: &'a Invocation<'a>,
    handler: i32,
    output: &'a mut ReplyBuffer,
    failed: bool,
}

/// Calls the function and writes its reply. True if it failed.
pub fn execute(
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
    pace_collector(lua);
    set_hook(lua, false);
    let mark = output.len();
    let mut job = Job {
        invocation,
        handler,
        output,
        failed: false,
    };
    // As `Lua::protected` does it, but with the function made once.
    lua.raw_get_at(super::lua::REGISTRY, super::sandbox::place::CALL);
    lua.push_pointer((&raw mut job).cast::<c_void>());
    let done = lua.protected_call(1, 0, 0);
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
pub fn call_job(lua: Lua) -> Native {
    // SAFETY: `execute` passes the address of a job that outlives the call.
    let job = unsafe { &mut *lua.pointer(1).cast::<Job<'_>>() };
    lua.set_top(0);
    lua.raw_get_at(super::lua::REGISTRY, job.handler);
    lua.raw_get_at(super::lua::REGISTRY, job.invocation.function);
    push_array(lua, job.invocation.keys);
    push_array(lua, job.invocation.args);
    let called = match job.invocation.what {
        What::Script(_) => {
            super::sandbox::set_keys_and_arguments(lua);
            lua.protected_call(0, 1, 1)
        }
        What::Function(..) => lua.protected_call(2, 1, 1),
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

/// Has the collector begin a new round once an interpreter holds so many
/// percent of what it held after the last one, and do so much work per step.
/// What every interpreter holds is some 36 KB: going through it after each
/// third of that would take a good part of the time of short scripts. It
/// stays below the 100 KB that the field's tests allow.
fn pace_collector(lua: Lua) {
    const SMALL_BYTES: usize = 1 << 20;
    let (pause, work) = match super::engine::owner(lua).used {
        0..SMALL_BYTES => (220, 1000),
        _ => (130, 200),
    };
    lua.collect(mlua_sys::LUA_GCSETPAUSE, pause);
    lua.collect(mlua_sys::LUA_GCSETSTEPMUL, work);
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
        pace_collector(lua);
        look_at_clock(lua).map(|()| 0)
    });
}

/// Sets a long script aside, and ends one that must end.
pub fn look_at_clock(lua: Lua) -> Result<(), Raise> {
    let Some(run) = super::engine::run_of(lua) else {
        return super::register::check_time(lua);
    };
    match run.tick() {
        None => Ok(()),
        Some(abort) => Err(end(lua, abort)),
    }
}

/// The error that ends a script, which it cannot catch for good.
pub fn end(lua: Lua, abort: Abort) -> Raise {
    set_hook(lua, true);
    Raise::Table(reason(abort))
}

/// What becomes of a script that ends so.
pub fn reason(abort: Abort) -> &'static str {
    match abort {
        Abort::ScriptKill => "Script killed by user with SCRIPT KILL.",
        Abort::FunctionKill => "Script killed by user with FUNCTION KILL.",
        Abort::Restart => "The script begins again with all keys locked.",
        Abort::Postpone => "The script begins again later.",
    }
}
