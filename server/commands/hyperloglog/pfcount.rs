//! PFCOUNT: how many different elements were added to one or several sketches.

use super::load::sketch_of;
use super::sketch::{self, Registers};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::db::ExpiryMode;

/// PFCOUNT key [key …]
pub const COMMAND: Command = Command {
    name: "pfcount",
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Estimates how many different elements one or several HyperLogLogs have.",
    complexity: "O(1) for one key, soon after another PFCOUNT without any work; O(N) for N keys.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::HYPERLOGLOG,
    keys: &[KeySpec {
        notes: "The count of a single key is kept in its value",
        ..KeySpec::range(1, -1, 1, &["RW", "access"])
    }],
    args: &[Arg::key("key").multiple()],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let count = match args {
        [_, key] => count_one(ctx, key)?,
        _ => {
            let mut most = Registers::new();
            for key in &args[1..] {
                if let Some(string) = ctx.db.string(key)? {
                    sketch_of(string)?.merge_into(&mut most)?;
                }
            }
            most.estimate()
        }
    };
    ctx.reply.integer(count as i64);
    Ok(())
}

/// The count of one sketch, from its cache or else put there.
fn count_one(
    ctx: &mut Context<'_>,
    key: &[u8],
) -> Result<u64, crate::commands::error::CommandError> {
    let Some(string) = ctx.db.string(key)? else {
        return Ok(0);
    };
    let sketch = sketch_of(string)?;
    if let Some(count) = sketch.cached() {
        return Ok(count);
    }
    let count = sketch.estimate()?;
    // A replica keeps the count to itself: it tells nothing that the elements
    // don't, and the log there is the primary's. During a pause nothing changes.
    let hidden = ctx.db.expiry_mode == ExpiryMode::Hide;
    if !hidden || ctx.server.replication.is_replica() {
        sketch::cache_count(ctx.db.string_mut(key)?, count);
    }
    if !hidden {
        ctx.db.changed(0, "", key);
    }
    Ok(count)
}
