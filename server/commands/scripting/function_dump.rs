//! FUNCTION DUMP and RESTORE: all libraries as one string.

use redoubt_persistence::rdb::dump;

use super::function::{BASE, wrong_arguments};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Locks, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::scripting::engine::Engine;
use crate::scripting::library::Policy;

/// FUNCTION DUMP
pub const DUMP: Command = Command {
    name: "function|dump",
    summary: "Gives all libraries in a form for RESTORE.",
    complexity: "O(N) where N is the number of functions",
    arity: 2,
    run: |ctx, _| {
        let dump = ctx.server.scripting.libraries.read().dump();
        ctx.reply.bulk(&dump);
        Ok(())
    },
    ..BASE
};

/// FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]
pub const RESTORE: Command = Command {
    name: "function|restore",
    summary: "Adds the libraries that DUMP gave.",
    complexity: "O(N) where N is the number of functions on the payload",
    arity: -3,
    flags: flag::NOSCRIPT | flag::WRITE | flag::DENYOOM,
    locks: Locks::All,
    args: &[
        Arg::string("serialized-value"),
        Arg::one_of(
            "policy",
            &[
                Arg::word("flush", "FLUSH"),
                Arg::word("append", "APPEND"),
                Arg::word("replace", "REPLACE"),
            ],
        )
        .optional(),
    ],
    run: restore,
    ..BASE
};

fn restore(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args.len() > 4 {
        return Err(wrong_arguments(args[1]));
    }
    let policy = match args.get(3) {
        None => Policy::Append,
        Some(word) if args::is(word, "append") => Policy::Append,
        Some(word) if args::is(word, "replace") => Policy::Replace,
        Some(word) if args::is(word, "flush") => Policy::Flush,
        Some(_) => {
            return Err(CommandError::err(
                "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let encoded = dump::unwrap(args[2])
        .map_err(|_| CommandError::err("DUMP payload version or checksum are wrong"))?;
    let scripting = &ctx.server.scripting;
    let mut engine = Engine::take(scripting)?;
    let in_time = !ctx.session.replaying;
    let libraries = scripting.libraries.read().clone();
    let restored = libraries.restore(&mut engine, encoded, policy, in_time);
    engine.give_back(scripting);
    *scripting.libraries.write() = restored?;
    ctx.db.recorder.dirty += 1;
    ctx.reply.ok();
    Ok(())
}
