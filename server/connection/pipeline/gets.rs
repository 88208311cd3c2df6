//! GETs that follow one another, the most that many clients ever send: what the
//! short way asks for each request is asked once for all of them.
//!
//! Such a run is over in microseconds, and its requests were all here before it
//! began: a MONITOR, a pause or a push that comes meanwhile comes behind it. What
//! holds only under a stripe's lock is still asked there, for each.

use std::sync::atomic::Ordering;

use super::{Pipeline, REPLY_SOFT_BYTES, Slot, Turn};
use crate::clock::SMALL_BYTES;
use crate::commands::context::Context;
use crate::commands::table::Form;
use crate::connection::dispatch::is_observed;
use crate::connection::pause;
use crate::keyspace::KeyRef;
use crate::keyspace::db::{PlainString, StringRef};

/// Whether GETs can run together, as things are now.
#[inline]
fn may_run_together(ctx: &Context<'_>, turn: &Turn<'_>) -> bool {
    let server = ctx.server;
    turn.limits.together()
        && !server.tracking.any()
        && !server.monitored.load(Ordering::Relaxed)
        && !pause::is_on(server, turn.now_ms)
        && !ctx.session.client.has_outbox()
}

impl Pipeline {
    /// Runs GETs from the turn's next request on that are followed by another: the
    /// last one of them is timed, so it takes the usual way. Gives the first that did
    /// not run: what it is to read is not plainly a short string in RAM, or none.
    pub(super) fn run_gets(&self, ctx: &mut Context<'_>, turn: &mut Turn<'_>) -> usize {
        let from = turn.next;
        if !follow_each_other(&self.slots, from) || !may_run_together(ctx, turn) {
            return from;
        }
        let mut at = from;
        while follow_each_other(&self.slots, at) && ctx.reply.len() <= REPLY_SOFT_BYTES {
            self.keep_ahead(ctx.server, ctx.session.db, at, &mut turn.fetched);
            let key = self.only_key(&self.slots[at], turn.input);
            if !key.is_some_and(|key| get(ctx, &key, turn.gate_version)) {
                break;
            }
            at += 1;
        }
        if let Some(found) = &self.slots[from].found {
            let (stats, ran) = (&ctx.server.stats, (at - from) as u64);
            ctx.session.tally.count_quick(stats, found.number(), ran);
        }
        at
    }

    /// The key of a request that is just a name and a key, and small.
    #[inline]
    fn only_key<'i>(&self, slot: &Slot, input: &'i [u8]) -> Option<KeyRef<'i>> {
        let ((hash, number), [_, key]) = (slot.key?, self.ranges.get(slot.args.clone())?) else {
            return None;
        };
        let bytes = input.get(slot.bytes.clone())?;
        (slot.is_array && bytes.len() <= SMALL_BYTES).then_some(KeyRef {
            bytes: bytes.get(key.clone())?,
            hash,
            slot: number,
        })
    }
}

/// Whether a request and the one behind it are GETs.
#[inline]
fn follow_each_other(slots: &[Slot], index: usize) -> bool {
    let is_get = |slot: &Slot| slot.found.is_some_and(|found| found.form == Form::Get);
    slots
        .get(index..index + 2)
        .is_some_and(|two| two.iter().all(is_get))
}

/// Answers one GET; false if that takes the usual way.
#[inline]
fn get(ctx: &mut Context<'_>, key: &KeyRef<'_>, gate_version: u64) -> bool {
    let server = ctx.server;
    // Who has the lock may have it for long.
    if !ctx.db.enter(key, || false) {
        return false;
    }
    let is_open = server.gate_version.load(Ordering::Acquire) == gate_version
        && server
            .cluster
            .as_ref()
            .is_none_or(|cluster| cluster.is_plainly_mine(key.slot));
    let done = is_open
        && match ctx.db.plain_string(key, SMALL_BYTES) {
            PlainString::Found(StringRef::Bytes(bytes)) => {
                ctx.reply.bulk(bytes);
                true
            }
            PlainString::Found(StringRef::Int(int)) => {
                ctx.reply.bulk_integer(int);
                true
            }
            PlainString::Absent if !is_observed(server) => {
                ctx.db.recorder.misses += 1;
                ctx.reply.null();
                true
            }
            PlainString::Absent | PlainString::Unclear => false,
        };
    ctx.db.leave();
    done
}
