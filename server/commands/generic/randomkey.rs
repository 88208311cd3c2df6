//! RANDOMKEY: any key.

use super::walk::{self, SLOTS};
use crate::commands::command::{Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::stripe::stripe_of;

/// RANDOMKEY
pub const COMMAND: Command = Command {
    name: "randomkey",
    group: Group::Generic,
    summary: "Gives a key picked at random.",
    arity: 1,
    flags: flag::READONLY,
    acl: acl::KEYSPACE,
    locks: Locks::None,
    run,
    ..Command::BASE
};

/// Slots that are tried at random before all keys are gone through.
const TRIES: usize = 64;

fn run(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let mut picked = None;
    if !ctx.db.is_empty() {
        for _ in 0..TRIES {
            picked = try_slot(ctx)?;
            if picked.is_some() {
                break;
            }
        }
        if picked.is_none() {
            // Maybe all that it came upon had expired.
            for stripe in Context::all_stripes() {
                walk::remove_due(ctx, stripe, |_| true);
            }
            picked = any_of_all(ctx)?;
        }
    }
    match picked {
        None => ctx.reply.null(),
        Some(key) => ctx.reply.bulk(&key),
    }
    Ok(())
}

/// A key of a random slot. A slot is accepted the more often the more keys it
/// has, so that each key is about as likely as any other.
fn try_slot(ctx: &mut Context<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    let full = (4 * ctx.db.len() / u64::from(SLOTS)).max(8) as usize;
    let slot = fastrand::u16(..SLOTS as u16);
    let mut picked = None;
    let cluster = ctx.server.cluster.as_ref();
    if cluster.is_some_and(|cluster| cluster.is_foreign(slot)) {
        return Ok(None);
    }
    ctx.each_stripe(std::iter::once(stripe_of(slot)), |db, stripe, _| {
        if db.stripe_may_have_keys(stripe) && fastrand::usize(..full) < db.slot_len(slot)? {
            let key = db.random_in_slot(slot, || fastrand::u64(..))?;
            // An expired key is hidden here.
            if let Some(key) = key
                && db.exists(&key)?
            {
                picked = Some(key);
            }
        }
        Ok(false)
    })?;
    Ok(picked)
}

/// One of all keys, each as likely as the others.
fn any_of_all(ctx: &mut Context<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    let (mut seen, mut picked) = (0, None);
    let server = ctx.server;
    ctx.each_stripe(Context::all_stripes(), |db, stripe, _| {
        if db.stripe_may_have_keys(stripe) {
            for slot in walk::shown_slots(server, &(0..SLOTS), stripe) {
                walk::each_of_slot(db, slot, |entry| {
                    seen += 1;
                    if fastrand::u64(..seen) == 0 {
                        picked = Some(entry.key().to_vec());
                    }
                })?;
            }
        }
        Ok(true)
    })?;
    Ok(picked)
}
