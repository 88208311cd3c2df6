//! PFDEBUG: a sketch from inside, for tests.

use super::load::sketch_of;
use super::{REGISTERS, dense, sketch, sparse};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key, or SIMD ON | OFF
pub const COMMAND: Command = Command {
    name: "pfdebug",
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Shows the inside of a HyperLogLog, for tests of servers.",
    complexity: "N/A",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::ADMIN,
    acl: acl::HYPERLOGLOG,
    keys: &[KeySpec::one(2, &["RW", "access"])],
    args: &[Arg::string("subcommand"), Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (word, key) = (args[1], args[2]);
    if args::is(word, "SIMD") {
        return simd(ctx, key);
    }
    let Some(string) = ctx.db.peek_string(key)? else {
        return Err(CommandError::err("The specified key does not exist"));
    };
    let sketch = sketch_of(string)?;
    if args::is(word, "GETREG") {
        sketch.checked()?;
        make_dense(ctx, key)?;
        let Some(string) = ctx.db.peek_string(key)? else {
            return Ok(());
        };
        let registers = sketch_of(string)?.registers();
        ctx.reply.array(REGISTERS);
        dense::values(registers).for_each(|value| ctx.reply.integer(i64::from(value)));
    } else if args::is(word, "DECODE") {
        if !sketch.is_sparse() {
            return Err(CommandError::err("HLL encoding is not sparse"));
        }
        let runs: Vec<String> = sparse::runs(sketch.registers()).map(text_of).collect();
        ctx.reply.bulk(runs.join(" ").as_bytes());
    } else if args::is(word, "ENCODING") {
        let name = if sketch.is_sparse() {
            "sparse"
        } else {
            "dense"
        };
        ctx.reply.simple(name);
    } else if args::is(word, "TODENSE") {
        sketch.checked()?;
        let made = make_dense(ctx, key)?;
        ctx.reply.integer(i64::from(made));
    } else {
        let word = String::from_utf8_lossy(word);
        return Err(CommandError::err(format_args!(
            "Unknown PFDEBUG subcommand '{word}'"
        )));
    }
    Ok(())
}

/// There is no other way to compute here, so the switch has no effect.
fn simd(ctx: &mut Context<'_>, switch: &[u8]) -> CommandResult {
    let states = [("ON", "enabled"), ("OFF", "disabled")];
    let state = states.into_iter().find(|(name, _)| args::is(switch, name));
    let (_, state) = state.ok_or_else(|| CommandError::err("Argument must be ON or OFF"))?;
    ctx.reply.simple(state);
    Ok(())
}

/// Makes a checked sketch dense; false when it was.
fn make_dense(ctx: &mut Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let is_sparse = match ctx.db.peek_string(key)? {
        Some(string) => sketch_of(string)?.is_sparse(),
        None => false,
    };
    if is_sparse {
        sketch::make_dense(ctx.db.string_mut(key)?);
        ctx.effects.add(&[b"PFDEBUG", b"TODENSE", key]);
        ctx.db.changed(0, "", key);
    }
    Ok(is_sparse)
}

/// A run as DECODE shows it.
fn text_of(run: sparse::Run) -> String {
    match run {
        sparse::Run {
            value: 0,
            len,
            size: 1,
        } => format!("z:{len}"),
        sparse::Run { value: 0, len, .. } => format!("Z:{len}"),
        sparse::Run { value, len, .. } => format!("v:{value},{len}"),
    }
}
