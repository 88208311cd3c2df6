//! PFSELFTEST: adds elements to a sketch of each representation and checks
//! that the estimates agree and are near the truth.

use super::hash::place_of;
use super::load::sparse_limit;
use super::sketch::{self, Sketch};
use crate::commands::command::{Command, Group, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// Elements that are added.
const ELEMENTS: u64 = 1_000_000;
/// Standard errors by which an estimate may be off.
const TOLERANCE: f64 = 6.0;

/// PFSELFTEST
pub const COMMAND: Command = Command {
    name: "pfselftest",
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Tests the HyperLogLogs of this server.",
    complexity: "N/A",
    arity: 1,
    flags: flag::ADMIN,
    acl: acl::HYPERLOGLOG,
    run: |ctx, _| run(ctx),
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>) -> CommandResult {
    let failed = |text: String| CommandError::text(format!("TESTFAILED {text}"));
    let (mut sparse, mut dense) = (sketch::empty(), sketch::empty());
    sketch::make_dense(&mut dense);
    let (seed, limit) = (fastrand::u64(..), sparse_limit());
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let (index, value) = place_of(&(number ^ seed).to_le_bytes());
        sketch::raise(&mut dense, index, value, limit);
        sketch::raise(&mut sparse, index, value, limit);
        if number != checkpoint {
            continue;
        }
        checkpoint *= 10;
        let [from_sparse, from_dense] =
            [&sparse, &dense].map(|bytes| Sketch::of(bytes).and_then(Sketch::estimate));
        let estimate = from_dense?;
        if from_sparse? != estimate {
            return Err(failed("dense/sparse disagree".into()));
        }
        let error = estimate.abs_diff(number);
        let allowed = (1.04 / 128.0 * TOLERANCE * number as f64).ceil() as u64;
        if error > allowed {
            return Err(failed(format!(
                "Too big error. card:{number} abserr:{error}"
            )));
        }
    }
    ctx.reply.ok();
    Ok(())
}
