//! `redis.call` and `redis.pcall`: from a script to a command and back,
//! without a detour over bytes for the arguments. The command runs as any
//! other does; what differs are the checks before it.

use std::sync::atomic::Ordering;

use super::convert::{push_error_reply, push_reply};
use super::engine::{owner, run_of};
use super::invocation::Abort;
use super::lua::{Lua, Native, Raise, kind};
use super::run::{Invocation, Run, What, has_effects};
use crate::clock::Ticks;
use crate::cluster::{route, slot_stats};
use crate::commands::command::flag;
use crate::commands::context::Context;
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::connection::dispatch::{self, Request, reply_error};
use crate::connection::{gate, pause};
use crate::number;
use crate::resp::Protocol;
use crate::stats::add;

/// The arguments of one command.
pub type Words<'a> = smallvec::SmallVec<[&'a [u8]; 16]>;

/// `redis.call`: an error of the command ends the script.
pub fn call(lua: Lua) -> Native {
    generic(lua, true)
}

/// `redis.pcall`: an error of the command is a value.
pub fn pcall(lua: Lua) -> Native {
    generic(lua, false)
}

fn generic(lua: Lua, raises: bool) -> Native {
    let Some(run) = run_of(lua) else {
        return Err(Raise::Table(
            "redis.call/pcall can only be called inside a script invocation",
        ));
    };
    if let Err(text) = ready_arguments(lua) {
        super::convert::push_error_text(lua, b"ERR", text.as_bytes());
        return if raises { Err(Raise::Top) } else { Ok(1) };
    }
    if let Some(abort) = run.tick() {
        return Err(super::protect::end(lua, abort));
    }
    // The words are gone again before Lua is called.
    let outcome = {
        let words: Words<'_> = (1..=lua.top())
            .map(|at| lua.bytes(at).unwrap_or_default())
            .collect();
        execute(run, &words)
    };
    if let Some(abort) = run.abort {
        return Err(super::protect::end(lua, abort));
    }
    lua.set_top(0);
    match outcome {
        Ok(()) => {
            let reply = bytes_of(run);
            push_reply(lua, reply)?;
            if raises && reply.first() == Some(&b'-') {
                return Err(Raise::Top);
            }
        }
        Err(()) => {
            push_error_reply(lua, &bytes_of(run)[1..], true);
            if raises {
                return Err(Raise::Top);
            }
        }
    }
    Ok(1)
}

/// The reply of the command that ran last.
fn bytes_of(run: &mut Run) -> &'static [u8] {
    let buffer = &run.ctx().reply.buf;
    // SAFETY: the buffer lives in the frame that called the script, and
    // nothing writes to it until the next command; only `generic` uses this.
    unsafe { std::slice::from_raw_parts(buffer.as_ptr(), buffer.len()) }
}

/// Makes strings of numbers; refuses what is neither.
pub fn ready_arguments(lua: Lua) -> Result<(), &'static str> {
    let count = lua.top();
    if count == 0 {
        return Err("Please specify at least one argument for this call");
    }
    for at in 1..=count {
        match lua.kind(at) {
            kind::STRING => {}
            kind::NUMBER => {
                let scratch = &mut owner(lua).scratch;
                scratch.clear();
                match lua.number(at) {
                    // Minus zero is no integer to Lua's users.
                    0.0 => scratch.push(b'0'),
                    value => number::format_f64(value, scratch),
                }
                lua.push_bytes(&owner(lua).scratch);
                lua.replace(at);
            }
            _ => return Err("Command arguments must be strings or integers"),
        }
    }
    Ok(())
}

/// Runs a command; its reply is in the context's buffer. An error reply of a
/// check comes as `Err`.
fn execute(run: &mut Run, words: &[&[u8]]) -> Result<(), ()> {
    let ctx = run.ctx();
    ctx.reply.truncate(0);
    let refuse = |ctx: &mut Context<'_>, number: Option<usize>, error: CommandError| {
        if let Some(number) = number {
            add(&ctx.server.stats.commands_of(number).rejected, 1);
        }
        reply_error(ctx.server, ctx.reply, &error);
        Err(())
    };
    let found = table().find_called(words);
    let found = found.filter(|found| {
        // A container is a command only with one of its subcommands.
        found.command.subcommands.is_empty() || words.len() < 2
    });
    let Some(found) = found else {
        let error = match table().find_called(words) {
            Some(container) => gate::unknown_subcommand(container.command, words),
            None => CommandError::err("Unknown command called from script"),
        };
        return refuse(ctx, None, error);
    };
    let declared;
    let words = match found.renamed {
        true => {
            declared = found.declared_args(words);
            &declared
        }
        false => words,
    };
    let checked = check(run, found, words)
        .and_then(|()| super::locks::ready(run, found.command, words))
        .and_then(|()| check_locked(run, found, words));
    match checked {
        Err(CommandError::Paused) if run.can_postpone() => run.abort = Some(Abort::Postpone),
        Err(CommandError::Paused) => {
            let text = "TRYAGAIN The slot of a key of the script is changing hands";
            return refuse(ctx, Some(found.number()), CommandError::text(text));
        }
        Err(error) => return refuse(ctx, Some(found.number()), error),
        Ok(()) => {}
    }
    if run.abort.is_none() {
        let command = found.command;
        run.wrote |= has_effects(command.flags);
        run.settled.wrote |= command.has(flag::WRITE) && !command.keys.is_empty();
        run_command(run, found, words);
    }
    Ok(())
}

/// What is checked before each command.
fn check(run: &mut Run, found: Found, words: &[&[u8]]) -> Result<(), CommandError> {
    let ctx = run.ctx();
    let (server, command) = (ctx.server, found.command);
    if !command.arity_fits(words.len()) {
        let text = "Wrong number of args calling command from script";
        return Err(CommandError::err(text));
    }
    if command.has(flag::NOSCRIPT) && !server.scripting.any_command.load(Ordering::Relaxed) {
        let text = "This Valkey command is not allowed from script";
        return Err(CommandError::err(text));
    }
    if run.read_only && pause::has_effects(command) {
        if !run.allow_oom {
            gate::memory(server, ctx.session, command, words)?;
        }
        let text = "Write commands are not allowed from read-only scripts.";
        return Err(CommandError::err(text));
    }
    gate::permission_in_script(server, ctx.session, command, words)?;
    if server.cluster.is_some() {
        let (slots, settled) = ((run.several_slots, &mut run.slot), &mut run.settled);
        route::check_in_script(server, ctx.session, (command, words), slots, settled, None)?;
    }
    may_write(run, found, words)
}

/// What is checked once more with the keys locked: whether they are still this
/// node's, and there; and for the first of them, whether it may still write.
fn check_locked(run: &mut Run, found: Found, words: &[&[u8]]) -> Result<(), CommandError> {
    let ctx = run.ctx();
    let (server, command) = (ctx.server, found.command);
    if run.abort.is_some() {
        return Ok(());
    }
    if server.cluster.is_some() {
        let (session, db) = (&*ctx.session, Some(&mut ctx.db));
        let (slots, settled) = ((run.several_slots, &mut run.slot), &mut run.settled);
        route::check_in_script(server, session, (command, words), slots, settled, db)?;
    }
    match ctx.session.passed_long_ago(server) {
        true => may_write(run, found, words),
        false => Ok(()),
    }
}

fn may_write(run: &mut Run, found: Found, words: &[&[u8]]) -> Result<(), CommandError> {
    let ctx = run.ctx();
    let (server, command) = (ctx.server, found.command);
    // What has begun to write is not stopped half way.
    if !run.wrote {
        // It has become a replica meanwhile: the client is to be sent elsewhere.
        gate::read_only(server, ctx.session, command, words).map_err(|error| {
            match route::is_about_slots(&error) && run.can_postpone() {
                true => CommandError::Paused,
                false => route::in_script(error, command),
            }
        })?;
        gate::storage(server, ctx.session, command, words)?;
        gate::replicas(server, ctx.session, command, words)?;
        if !run.allow_oom {
            gate::memory(server, ctx.session, command, words)?;
        }
    }
    Ok(())
}

fn run_command(run: &mut Run, found: Found, words: &[&[u8]]) {
    let ctx = run.ctx();
    let server = ctx.server;
    let index = ctx.session.db;
    ctx.db.select(index);
    ctx.effects = Default::default();
    ctx.db.recorder.dirty = 0;
    ctx.reply.protocol = run.resp;
    let mut started = Ticks::now();
    dispatch::run(ctx, found, words);
    server.tracking.collect_so_far(&mut ctx.db.recorder);
    let request = Request::new(found, words, run.now_ms);
    let written = ctx.reply.len();
    if !ctx.session.replaying {
        crate::clock::account_part(server, ctx.session, &request, &mut started, written);
        ctx.session.client.count_command();
        if slot_stats::kept(server).is_some() {
            slot_stats::note_in_script(&ctx.session.client, &request, run.several_slots);
        }
        if server.monitored.load(Ordering::Relaxed) {
            crate::monitor::show_of_script(server, found.command, index, words);
        }
    }
    let recorder = &ctx.db.recorder;
    let word = server.settings.expire_word();
    run.log
        .expired(word, &recorder.expired[run.expired_logged..]);
    run.expired_logged = recorder.expired.len();
    if recorder.dirty != 0 {
        run.dirty += recorder.dirty;
        run.log.add(index, ctx.effects.explicit(), words);
    }
}

/// What is checked before a script begins.
pub fn check_before(ctx: &Context<'_>, invocation: &Invocation<'_>) -> Result<(), CommandError> {
    let flags = match &invocation.what {
        What::Script(script) => script.flags,
        What::Function(library, number) => Some(library.functions[*number].flags),
    };
    // A script without a first line of its own is checked as it goes.
    let Some(flags) = flags else { return Ok(()) };
    let server = ctx.server;
    if flags.no_cluster && server.cluster.is_some() {
        let text = "Can not run script on cluster, 'no-cluster' flag is set.";
        return Err(CommandError::err(text));
    }
    if !flags.no_writes {
        let set = table().by_name(b"set").map(|found| found.command);
        if let Some(set) = set.filter(|_| !flags.allow_oom) {
            gate::memory(server, ctx.session, set, &[])?;
        }
        if invocation.read_only {
            let text = "Can not execute a script with write flag using *_ro command.";
            return Err(CommandError::err(text));
        }
        if let Some(set) = set {
            if let Some(key) = invocation.keys.first() {
                // On a replica the client is sent to the primary.
                route::check(server, ctx.session, set, &[b"set", key, b""], None)?;
            }
            gate::read_only(server, ctx.session, set, &[])?;
            gate::storage(server, ctx.session, set, &[])?;
            gate::replicas(server, ctx.session, set, &[])?;
        }
    }
    Ok(())
}

/// The version of RESP for the commands that follow.
pub fn set_resp(lua: Lua) -> Native {
    if lua.top() != 1 {
        return Err(Raise::Table("server.setresp() requires one argument."));
    }
    let wanted = match lua.number(1) as i64 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(Raise::Table("RESP version must be 2 or 3.")),
    };
    if let Some(run) = run_of(lua) {
        run.resp = wanted;
    }
    Ok(0)
}
