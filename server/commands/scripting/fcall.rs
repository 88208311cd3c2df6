//! FCALL and FCALL_RO: calling a function of a library.

use super::{CALL_FLAGS, any_keys, call_args, count_failure, read_keys, split};
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::scripting::engine::Engine;
use crate::scripting::run::{Invocation, What, invoke};

/// FCALL function numkeys [key …] [arg …]
pub const FCALL: Command = Command {
    name: "fcall",
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Calls a function.",
    complexity: "Depends on the function that is executed.",
    arity: -3,
    flags: CALL_FLAGS,
    acl: acl::SCRIPTING,
    keys: &[any_keys(
        "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",
    )],
    // The function locks for itself.
    locks: Locks::None,
    args: &call_args(Arg::string("function")),
    run: |ctx, args| run(ctx, args, false),
    ..Command::BASE
};

/// FCALL_RO function numkeys [key …] [arg …]
pub const FCALL_RO: Command = Command {
    name: "fcall_ro",
    summary: "Calls a function that only reads.",
    flags: CALL_FLAGS | flag::READONLY,
    keys: &[read_keys(
        "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",
    )],
    run: |ctx, args| run(ctx, args, true),
    ..FCALL
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]], read_only: bool) -> CommandResult {
    super::show(ctx, args);
    let scripting = &ctx.server.scripting;
    let found = scripting.libraries.read().function(args[1]);
    let (library, number) = found.ok_or_else(|| CommandError::err("Function not found"))?;
    let (keys, arguments) = split(args, || CommandError::err("Bad number of keys provided"))?;
    let mut engine = Engine::take(scripting)?;
    engine.prune(&scripting.libraries.read());
    let function = match library.function_in(&mut engine, number) {
        Ok(function) => function,
        Err(error) => {
            engine.give_back(scripting);
            return Err(error);
        }
    };
    let invocation = Invocation {
        what: What::Function(library, number),
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
