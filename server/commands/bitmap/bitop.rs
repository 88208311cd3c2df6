//! BITOP: combines strings bit by bit.

use crate::commands::args;
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::entry::Value;
use crate::keyspace::recorder::class;

/// BITOP (AND | OR | XOR | NOT) destkey key [key …]
pub const COMMAND: Command = Command {
    name: "bitop",
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "Combines strings bit by bit and stores the result.",
    complexity: "O(N)",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::BITMAP,
    keys: &[
        KeySpec::one(2, &["OW", "update"]),
        KeySpec::range(3, -1, 1, &["RO", "access"]),
    ],
    args: &[
        Arg::one_of(
            "operation",
            &[
                Arg::word("and", "AND"),
                Arg::word("or", "OR"),
                Arg::word("xor", "XOR"),
                Arg::word("not", "NOT"),
            ],
        ),
        Arg::key("destkey"),
        Arg::new("key", ArgKind::Key(1)).multiple(),
    ],
    run,
    ..Command::BASE
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

fn operation(args: &[&[u8]]) -> Result<Operation, CommandError> {
    let operations = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
    ];
    let found = operations
        .into_iter()
        .find(|(name, _)| args::is(args[1], name));
    let (_, operation) = found.ok_or(CommandError::Syntax)?;
    if operation == Operation::Not && args.len() != 4 {
        let text = "BITOP NOT must be called with a single source key.";
        return Err(CommandError::err(text));
    }
    Ok(operation)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let operation = operation(args)?;
    let target = args[2];
    let mut result = match ctx.db.string(args[3])? {
        None => Vec::new(),
        Some(string) => string.to_vec(),
    };
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for key in &args[4..] {
        match ctx.db.string(key)? {
            None => combine(&mut result, b"", operation),
            Some(string) => {
                let mut digits = itoa::Buffer::new();
                combine(&mut result, string.bytes(&mut digits), operation);
            }
        }
    }
    let len = result.len();
    if len != 0 {
        ctx.db.set_value(target, Value::Bytes(result), None)?;
        ctx.db.changed(class::STRING, "set", target);
    } else if ctx.db.delete(target)? {
        ctx.db.changed(class::GENERIC, "del", target);
    }
    ctx.reply.integer(len as i64);
    Ok(())
}

/// Combines another string into the result; the shorter one goes on in zeros.
fn combine(result: &mut Vec<u8>, other: &[u8], operation: Operation) {
    if result.len() < other.len() {
        result.resize(other.len(), 0);
    }
    let (shared, rest) = result.split_at_mut(other.len());
    let pairs = shared.iter_mut().zip(other);
    match operation {
        Operation::And => {
            pairs.for_each(|(to, from)| *to &= from);
            rest.fill(0);
        }
        Operation::Or => pairs.for_each(|(to, from)| *to |= from),
        Operation::Xor => pairs.for_each(|(to, from)| *to ^= from),
        Operation::Not => {}
    }
}
