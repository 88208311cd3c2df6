//! KEYS: all keys that match a pattern.

use super::walk::{self, Pattern};
use crate::commands::command::{Arg, ArgKind, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// KEYS pattern
pub const COMMAND: Command = Command {
    name: "keys",
    group: Group::Generic,
    summary: "Gives all keys that match a pattern.",
    complexity: "O(N) for N keys in the database.",
    arity: 2,
    flags: flag::READONLY,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    locks: Locks::None,
    args: &[Arg::new("pattern", ArgKind::Pattern)],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let pattern = Pattern::new(Some(args[1]));
    let slots = pattern.slots();
    let head = ctx.reply.defer();
    let mut count = 0;
    let server = ctx.server;
    ctx.each_stripe(walk::stripes_of_slots(&slots), |db, stripe, reply| {
        if db.stripe_may_have_keys(stripe) {
            for slot in walk::shown_slots(server, &slots, stripe) {
                walk::each_of_slot(db, slot, |entry| {
                    if pattern.matches(entry.key()) {
                        reply.bulk(entry.key());
                        count += 1;
                    }
                })?;
            }
        }
        Ok(true)
    })?;
    ctx.reply.finish_array(head, count);
    Ok(())
}
