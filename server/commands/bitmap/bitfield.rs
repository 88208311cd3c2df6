//! BITFIELD and BITFIELD_RO: integers of any width inside a string.

use super::bit_offset;
use super::field::{Encoding, Overflow};
use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;

/// BITFIELD key [GET encoding offset | [OVERFLOW (WRAP | SAT | FAIL)]
/// (SET encoding offset value | INCRBY encoding offset increment) …]
pub const COMMAND: Command = Command {
    name: "bitfield",
    group: Group::Bitmap,
    since: "3.2.0",
    summary: "Reads, sets and increments integers of any width inside a string.",
    complexity: "O(1) for each operation.",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::BITMAP,
    keys: &[KeySpec {
        notes: "This command allows both access and modification of the key",
        ..KeySpec::one(1, &["RW", "access", "update", "variable_flags"])
    }],
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "operation",
            &[
                Arg::block(
                    "get-block",
                    &[Arg::string("encoding"), Arg::integer("offset")],
                )
                .after("GET"),
                Arg::block(
                    "write",
                    &[
                        Arg::one_of(
                            "overflow-block",
                            &[
                                Arg::word("wrap", "WRAP"),
                                Arg::word("sat", "SAT"),
                                Arg::word("fail", "FAIL"),
                            ],
                        )
                        .after("OVERFLOW")
                        .optional(),
                        Arg::one_of(
                            "write-operation",
                            &[
                                Arg::block(
                                    "set-block",
                                    &[
                                        Arg::string("encoding"),
                                        Arg::integer("offset"),
                                        Arg::integer("value"),
                                    ],
                                )
                                .after("SET"),
                                Arg::block(
                                    "incrby-block",
                                    &[
                                        Arg::string("encoding"),
                                        Arg::integer("offset"),
                                        Arg::integer("increment"),
                                    ],
                                )
                                .after("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .optional()
        .multiple(),
    ],
    run: |ctx, args| run(ctx, args, false),
    ..Command::BASE
};

/// BITFIELD_RO key [GET encoding offset …]
pub const READ_ONLY: Command = Command {
    name: "bitfield_ro",
    group: Group::Bitmap,
    since: "6.0.0",
    summary: "Reads integers of any width inside a string.",
    complexity: "O(1) for each operation.",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    acl: acl::BITMAP,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        Arg::block(
            "get-block",
            &[Arg::string("encoding"), Arg::integer("offset")],
        )
        .after("GET")
        .optional()
        .multiple_token(),
    ],
    run: |ctx, args| run(ctx, args, true),
    ..Command::BASE
};

enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

struct Operation {
    action: Action,
    encoding: Encoding,
    offset: u64,
    overflow: Overflow,
}

fn parse(ctx: &Context<'_>, args: &[&[u8]]) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let (word, following) = (args[at], &args[at + 1..]);
        if args::is(word, "OVERFLOW") && !following.is_empty() {
            overflow = parse_overflow(following[0])?;
            at += 2;
            continue;
        }
        let writes = args::is(word, "SET") || args::is(word, "INCRBY");
        let count = 2 + usize::from(writes);
        if !(writes || args::is(word, "GET")) || following.len() < count {
            return Err(CommandError::Syntax);
        }
        let encoding = Encoding::parse(following[0]).ok_or_else(|| {
            CommandError::err(
                "Invalid bitfield type. Use something like i16 u8. \
                 Note that u64 is not supported but i64 is.",
            )
        })?;
        let offset = bit_offset(ctx, following[1], Some(encoding.bits))?;
        let action = match writes {
            false => Action::Get,
            true if args::is(word, "SET") => Action::Set(args::integer(following[2])?),
            true => Action::Increment(args::integer(following[2])?),
        };
        operations.push(Operation {
            action,
            encoding,
            offset,
            overflow,
        });
        at += 1 + count;
    }
    Ok(operations)
}

fn parse_overflow(arg: &[u8]) -> Result<Overflow, CommandError> {
    let kinds = [
        ("WRAP", Overflow::Wrap),
        ("SAT", Overflow::Saturate),
        ("FAIL", Overflow::Fail),
    ];
    let found = kinds.into_iter().find(|(name, _)| args::is(arg, name));
    found
        .map(|(_, kind)| kind)
        .ok_or_else(|| CommandError::err("Invalid OVERFLOW type specified"))
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]], read_only: bool) -> CommandResult {
    let operations = parse(ctx, args)?;
    let writing = operations
        .iter()
        .filter(|operation| !matches!(operation.action, Action::Get));
    // The last byte that any writing touches.
    let last = writing
        .map(|operation| operation.offset + u64::from(operation.encoding.bits) - 1)
        .max()
        .map(|bit| (bit >> 3) as usize);
    match last {
        None => read(ctx, args[1], &operations),
        Some(_) if read_only => Err(CommandError::err(
            "BITFIELD_RO only supports the GET subcommand",
        )),
        Some(last) => write(ctx, args[1], &operations, last),
    }
}

fn read(ctx: &mut Context<'_>, key: &[u8], operations: &[Operation]) -> CommandResult {
    let string = ctx.db.string(key)?;
    let mut digits = itoa::Buffer::new();
    let bytes = match &string {
        None => b"",
        Some(string) => string.bytes(&mut digits),
    };
    ctx.reply.array(operations.len());
    for operation in operations {
        ctx.reply
            .integer(operation.encoding.get(bytes, operation.offset));
    }
    Ok(())
}

fn write(
    ctx: &mut Context<'_>,
    key: &[u8],
    operations: &[Operation],
    last: usize,
) -> CommandResult {
    let bytes = ctx.db.string_mut(key)?;
    let grown = bytes.len() <= last;
    let mut changed = false;
    if grown {
        bytes.resize(last + 1, 0);
    }
    ctx.reply.array(operations.len());
    for operation in operations {
        let (encoding, offset) = (operation.encoding, operation.offset);
        let old = encoding.get(bytes, offset);
        let wanted = match operation.action {
            Action::Get => {
                ctx.reply.integer(old);
                continue;
            }
            Action::Set(value) if encoding.signed => i128::from(value),
            // A negative value is taken for the large one with its bits.
            Action::Set(value) => i128::from(value as u64),
            Action::Increment(by) => i128::from(old) + i128::from(by),
        };
        match encoding.fit(wanted, operation.overflow) {
            None => ctx.reply.null(),
            Some(new) => {
                encoding.set(bytes, offset, new);
                changed |= grown || new != old;
                let is_set = matches!(operation.action, Action::Set(_));
                ctx.reply.integer(if is_set { old } else { new });
            }
        }
    }
    if changed {
        ctx.db.changed(class::STRING, "setbit", key);
    } else if grown {
        // A string that grows has changed, but the field tells nobody if every operation fails.
        ctx.db.changed(0, "", key);
    }
    Ok(())
}
