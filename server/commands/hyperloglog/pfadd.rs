//! PFADD: adds elements to a sketch.

use super::hash::place_of;
use super::load::{sketch_of, sparse_limit};
use super::sketch;
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// PFADD key [element …]
pub const COMMAND: Command = Command {
    name: "pfadd",
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Adds elements to a HyperLogLog, which is made if there is none.",
    complexity: "O(1) for each element.",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::HYPERLOGLOG,
    keys: &[KeySpec::one(1, &["RW", "insert"])],
    args: &[
        Arg::key("key"),
        Arg::string("element").optional().multiple(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, elements) = (args[1], &args[2..]);
    let changes = match ctx.db.peek_string(key)? {
        None => true,
        Some(string) => {
            let sketch = match elements {
                [] => sketch_of(string)?,
                _ => sketch_of(string)?.checked()?,
            };
            elements.iter().any(|element| {
                let (index, value) = place_of(element);
                sketch.is_below(index, value)
            })
        }
    };
    if changes {
        let bytes = ctx.db.string_mut(key)?;
        if bytes.is_empty() {
            *bytes = sketch::empty();
        }
        for element in elements {
            let (index, value) = place_of(element);
            sketch::raise(bytes, index, value, sparse_limit());
        }
        sketch::forget_count(bytes);
        ctx.db.changed(class::STRING, "pfadd", key);
    }
    ctx.reply.integer(i64::from(changes));
    Ok(())
}
