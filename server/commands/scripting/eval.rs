//! EVAL, EVALSHA and their forms that only read.

use super::{CALL_FLAGS, any_keys, call_args, count_failure, read_keys, split};
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::scripting::cache::{Script, parse_sha};
use crate::scripting::engine::Engine;
use crate::scripting::run::{Invocation, What, invoke};
use std::sync::Arc;

/// What EVALSHA answers when it does not know the script.
pub const NO_SCRIPT: &str = "NOSCRIPT No matching script.";

const BASE: Command = Command {
    group: Group::Scripting,
    complexity: "Depends on the script that is executed.",
    arity: -3,
    flags: CALL_FLAGS,
    acl: acl::SCRIPTING,
    // The script locks for itself.
    locks: Locks::None,
    ..Command::BASE
};

const WORST: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
const WORST_RO: &str =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";

/// EVAL script numkeys [key …] [arg …]
pub const EVAL: Command = Command {
    name: "eval",
    since: "2.6.0",
    summary: "Runs a script in Lua.",
    keys: &[any_keys(WORST)],
    args: &call_args(Arg::string("script")),
    run: |ctx, args| by_body(ctx, args, false),
    ..BASE
};

/// EVALSHA sha1 numkeys [key …] [arg …]
pub const EVALSHA: Command = Command {
    name: "evalsha",
    since: "2.6.0",
    summary: "Runs a script in Lua that the server knows already.",
    keys: &[any_keys("")],
    args: &call_args(Arg::string("sha1")),
    run: |ctx, args| by_sha(ctx, args, false),
    ..BASE
};

/// EVAL_RO script numkeys [key …] [arg …]
pub const EVAL_RO: Command = Command {
    name: "eval_ro",
    since: "7.0.0",
    summary: "Runs a script in Lua that only reads.",
    flags: CALL_FLAGS | flag::READONLY,
    keys: &[read_keys(WORST_RO)],
    args: &call_args(Arg::string("script")),
    run: |ctx, args| by_body(ctx, args, true),
    ..BASE
};

/// EVALSHA_RO sha1 numkeys [key …] [arg …]
pub const EVALSHA_RO: Command = Command {
    name: "evalsha_ro",
    since: "7.0.0",
    summary: "Runs a script in Lua that only reads and that the server knows already.",
    flags: CALL_FLAGS | flag::READONLY,
    keys: &[read_keys("")],
    args: &call_args(Arg::string("sha1")),
    run: |ctx, args| by_sha(ctx, args, true),
    ..BASE
};

fn not_a_number() -> CommandError {
    CommandError::NotInteger
}

fn by_body(ctx: &mut Context<'_>, args: &[&[u8]], read_only: bool) -> CommandResult {
    super::show(ctx, args);
    split(args, not_a_number)?;
    let scripting = &ctx.server.scripting;
    let mut engine = Engine::take(scripting)?;
    match engine.script_of_body(&scripting.scripts, args[1]) {
        Ok((script, function)) => call(ctx, args, engine, script, function, read_only),
        Err(error) => {
            engine.give_back(scripting);
            Err(error)
        }
    }
}

fn by_sha(ctx: &mut Context<'_>, args: &[&[u8]], read_only: bool) -> CommandResult {
    super::show(ctx, args);
    let no_script = || CommandError::text(NO_SCRIPT);
    let sha = parse_sha(args[1]).ok_or_else(no_script)?;
    split(args, not_a_number)?;
    let scripting = &ctx.server.scripting;
    let mut engine = Engine::take(scripting)?;
    match engine.script_of_sha(&scripting.scripts, &sha) {
        Ok(Some((script, function))) => call(ctx, args, engine, script, function, read_only),
        other => {
            engine.give_back(scripting);
            Err(other.err().unwrap_or_else(no_script))
        }
    }
}

fn call(
    ctx: &mut Context<'_>,
    args: &[&[u8]],
    engine: Box<Engine>,
    script: Arc<Script>,
    function: i32,
    read_only: bool,
) -> CommandResult {
    let (keys, arguments) = split(args, not_a_number)?;
    let invocation = Invocation {
        what: What::Script(script),
        function,
        keys,
        args: arguments,
        command: args,
        read_only,
    };
    let failed = invoke(ctx, engine, &invocation)?;
    count_failure(ctx, args, failed);
    Ok(())
}
