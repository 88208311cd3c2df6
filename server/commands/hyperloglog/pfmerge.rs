//! PFMERGE: the union of sketches.

use super::load::{sketch_of, sparse_limit};
use super::sketch::{self, Registers};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::recorder::class;

/// PFMERGE destkey [sourcekey …]
pub const COMMAND: Command = Command {
    name: "pfmerge",
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Adds to a HyperLogLog all that was added to others.",
    complexity: "O(N) for N keys, with a high constant.",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM,
    acl: acl::HYPERLOGLOG,
    keys: &[
        KeySpec::one(1, &["RW", "access", "insert"]),
        KeySpec::range(2, -1, 1, &["RO", "access"]),
    ],
    args: &[
        Arg::key("destkey"),
        Arg::new("sourcekey", ArgKind::Key(1)).optional().multiple(),
    ],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut most = Registers::new();
    let mut any_dense = false;
    for key in &args[1..] {
        if let Some(string) = ctx.db.string(key)? {
            let sketch = sketch_of(string)?;
            sketch.merge_into(&mut most)?;
            any_dense |= !sketch.is_sparse();
        }
    }
    let bytes = ctx.db.string_mut(args[1])?;
    if bytes.is_empty() {
        *bytes = sketch::empty();
    }
    if any_dense {
        sketch::make_dense(bytes);
    }
    let limit = sparse_limit();
    for (index, &value) in most.0.iter().enumerate().filter(|(_, value)| **value > 0) {
        sketch::raise(bytes, index, value, limit);
    }
    sketch::forget_count(bytes);
    ctx.db.changed(class::STRING, "pfadd", args[1]);
    ctx.reply.ok();
    Ok(())
}
