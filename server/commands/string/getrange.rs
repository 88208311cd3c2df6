//! GETRANGE, and SUBSTR, its name of old: a part of a string.

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// GETRANGE key start end
pub const COMMAND: Command = Command {
    name: "getrange",
    group: Group::String,
    since: "2.4.0",
    summary: "Returns a part of a string.",
    complexity: "O(N) where N is the length of the part.",
    arity: 4,
    flags: flag::READONLY,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
    run,
    ..Command::BASE
};

/// SUBSTR key start end
pub const SUBSTR: Command = Command {
    name: "substr",
    group: Group::String,
    since: "1.0.0",
    summary: "Returns a part of a string.",
    complexity: "O(N) where N is the length of the part.",
    arity: 4,
    flags: flag::READONLY,
    acl: acl::STRING,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let start = args::integer(args[2])?;
    let end = args::integer(args[3])?;
    match ctx.db.string(args[1])? {
        None => ctx.reply.bulk(b""),
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            ctx.reply.bulk(part(string.bytes(&mut digits), start, end));
        }
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative indexes count
/// from the end.
fn part(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = bytes.len() as i64;
    let from_front = |index: i64| if index < 0 { index + len } else { index }.max(0);
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end {
        return b"";
    }
    &bytes[start as usize..=end as usize]
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn indexes_are_clamped_to_the_string() {
        assert_eq!(part(b"abc", 0, -1), b"abc");
        assert_eq!(part(b"abc", -2, -1), b"bc");
        assert_eq!(part(b"abc", -9, 0), b"a");
        assert_eq!(part(b"abc", -9, -8), b"a");
        assert_eq!(part(b"abc", -8, -9), b"");
        assert_eq!(part(b"abc", 3, 9), b"");
        assert_eq!(part(b"", 0, -1), b"");
        assert_eq!(part(b"abc", i64::MIN, i64::MAX), b"abc");
    }
}
