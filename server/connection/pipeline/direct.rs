//! The short way: requests of a batch that name just one key each, or only
//! answer, run one after the other in one context, which only goes from stripe to stripe.
//!
//! What they do is what [`dispatch`](super::super::dispatch::dispatch) would
//! do, in the same order; what they are spared is to set up and to ask again,
//! for each, what holds for all. Whatever is out of the ordinary (a client in
//! MULTI, a MONITOR, a pause, a refusal) ends the short way, and the request
//! at hand takes the long one.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::{Pipeline, REPLY_SOFT_BYTES, Slot, Turn};
use crate::clock::account_within;
use crate::commands::command::flag;
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::table::Found;
use crate::connection::conclusion::{announce, break_watches, log_effects, notice, publish_all};
use crate::connection::dispatch::{Request, is_observed, open_db, run};
use crate::connection::session::{ReplyMode, Session};
use crate::connection::{gate, pause};
use crate::eviction::has_ample_room;
use crate::keyspace::KeyRef;
use crate::keyspace::recorder::expired_keys;
use crate::keyspace::stripe::StripeSet;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;
use crate::tracking::client::mode;

/// Most requests have no more arguments.
const FEW: usize = 8;

/// What the client's state and the server's let pass on the short way.
pub(super) fn open(server: &Server, session: &mut Session) -> gate::Open {
    server.acl.keep_current(session);
    // CLIENT CACHING is for one command, and only the long way ends it.
    // Keys that have to go, with the messages about them, go before a reply.
    let special = server.tracking.any()
        && (session.client.tracking.has(mode::CACHING) || !has_ample_room(server));
    // While a script runs, locks are waited for on the long way only.
    let scripts = server.scripting.active.load(Ordering::Relaxed) != 0;
    let plain = !special
        && !scripts
        && session.put_off.is_none()
        && session.transaction.is_none()
        && session.reply_mode == ReplyMode::On;
    match plain {
        true => gate::open(server, session),
        false => gate::Open::Nothing,
    }
}

impl Pipeline {
    /// Runs requests from the turn's next on, as many as can take the short
    /// way; returns the first that did not run.
    pub(super) fn run_direct(
        &self,
        server: &'static Server,
        session: &mut Session,
        reply: &mut ReplyBuffer,
        turn: &mut Turn<'_>,
        open: gate::Open,
    ) -> usize {
        let db = open_db(server, session, StripeSet::default(), turn.now_ms);
        let mut ctx = Context {
            server,
            session,
            db,
            reply,
            effects: Effects::default(),
            in_transaction: false,
            holds_all: false,
            prepared: None,
            block: None,
        };
        let (input, from) = (turn.input, turn.next);
        let mut index = self.run_gets(&mut ctx, turn);
        let (mut few, mut many) = ([&[][..]; FEW], Vec::new());
        while let Some(slot) = self.slots.get(index)
            && let Some(found) = passing(server, slot, open, turn.now_ms)
            && ctx.reply.len() <= REPLY_SOFT_BYTES
        {
            self.keep_ahead(server, ctx.session.db, index, &mut turn.fetched);
            let bytes = &input[slot.bytes.clone()];
            let args = arguments(bytes, &self.ranges[slot.args.clone()], &mut few, &mut many);
            let request = Request {
                found: *found,
                args,
                raw: slot.is_array.then_some(bytes),
                key: slot.key,
                now_ms: turn.now_ms,
            };
            let key = slot.key.map(|(hash, number)| KeyRef {
                bytes: args[found.first_key()],
                hash,
                slot: number,
            });
            let next = self
                .slots
                .get(index + 1)
                .and_then(|slot| slot.found.as_ref());
            let more = next.is_some_and(|next| next.number() == found.number());
            if !run_one(&mut ctx, &request, key.as_ref(), turn, more) {
                break;
            }
            index += 1;
        }
        if index != from {
            let last = self.slots[index - 1].found.map(|found| found.number());
            count(&mut ctx, (index - from) as u64, last);
        }
        index
    }
}

/// The arguments of a request, in `few` if they have room there.
#[inline]
fn arguments<'a, 's>(
    bytes: &'a [u8],
    ranges: &[Range<usize>],
    few: &'s mut [&'a [u8]; FEW],
    many: &'s mut Vec<&'a [u8]>,
) -> &'s [&'a [u8]] {
    let argument = |range: &Range<usize>| &bytes[range.clone()];
    if ranges.len() > FEW {
        many.clear();
        many.extend(ranges.iter().map(argument));
        return many;
    }
    for (place, range) in few.iter_mut().zip(ranges) {
        *place = argument(range);
    }
    &few[..ranges.len()]
}

/// Counts what ran, `last` being the last command's number.
fn count(ctx: &mut Context<'_>, ran: u64, last: Option<usize>) {
    let last = last.map_or(0, |number| number as u32 + 1);
    let session = &mut *ctx.session;
    session.routing.asking = false;
    session.client.last_command.store(last, Ordering::Relaxed);
    session.client.count_commands(ran);
    let recorder = &ctx.db.recorder;
    session.tally.hits += recorder.hits;
    session.tally.misses += recorder.misses;
}

/// The command of a request that can take the short way, as things are now.
#[inline]
fn passing<'s>(
    server: &Server,
    slot: &'s Slot,
    open: gate::Open,
    now_ms: i64,
) -> Option<&'s Found> {
    slot.found.as_ref().filter(|found| {
        slot.is_direct()
            && (open == gate::Open::Everything || !found.command.has(flag::WRITE))
            && found.command.arity_fits(slot.args.len())
            && !server.monitored.load(Ordering::Relaxed)
            && !pause::is_on(server, now_ms)
    })
}

/// Runs one request: lock, run, log (still locked, I1), broken WATCHes,
/// notifications, unlock, blocked clients. False if it did not run: its key, if
/// it has one, is not plainly this node's, or a script's; or what let it pass may
/// not hold any more.
#[inline]
fn run_one(
    ctx: &mut Context<'_>,
    request: &Request,
    key: Option<&KeyRef>,
    turn: &mut Turn<'_>,
    more: bool,
) -> bool {
    let server = ctx.server;
    // What was pushed before this command comes before its reply.
    ctx.session.client.take_outbox(&mut ctx.reply.buf);
    let mark = ctx.reply.len();
    // A command that changes nothing may have named its effects all the same.
    ctx.effects.clear();
    // A script that began since has it for long, maybe.
    let no_scripts = || server.scripting.active.load(Ordering::Relaxed) == 0;
    if let Some(key) = key {
        if !ctx.db.enter(key, no_scripts) {
            return false;
        }
        if server.gate_version.load(Ordering::Acquire) != turn.gate_version {
            ctx.db.leave();
            return false;
        }
        if let Some(cluster) = &server.cluster
            && !cluster.is_plainly_mine(key.slot)
        {
            ctx.db.leave();
            return false;
        }
    }
    ctx.db.recorder.observed = is_observed(server);
    let failed = run(ctx, request.found, request.args);
    let recorder = &ctx.db.recorder;
    let changed = recorder.dirty != 0 || !recorder.expired.is_empty();
    if changed {
        log_effects(
            server,
            ctx.session.db,
            recorder,
            &ctx.effects,
            failed,
            request,
        );
        if server.watches.any() {
            break_watches(server, recorder);
        }
    }
    let told = !recorder.changes.is_empty();
    if told {
        announce(server, ctx.session, &mut ctx.db.recorder);
    }
    ctx.db.leave();
    if changed || told {
        settle(ctx);
    }
    let written = ctx.reply.len().saturating_sub(mark);
    let (clock, limits) = (&mut turn.clock, &turn.limits);
    account_within(server, ctx.session, request, clock, written, limits, more);
    true
}

/// What follows a change once the lock is gone; readies the context for the
/// next request.
#[inline]
fn settle(ctx: &mut Context<'_>) {
    let recorder = &mut ctx.db.recorder;
    ctx.session.wrote |= recorder.dirty != 0;
    ctx.session.tally.dirty += std::mem::take(&mut recorder.dirty);
    if !recorder.changes.is_empty() || !recorder.expired.is_empty() {
        let (changes, expired, is_told) = (
            std::mem::take(&mut recorder.changes),
            std::mem::take(&mut recorder.expired),
            std::mem::take(&mut recorder.is_told),
        );
        if ctx.server.tracking.any() {
            let author = ctx.session.client.id;
            let tracking = &ctx.server.tracking;
            tracking.invalidate(ctx.server, author, &changes, None);
        }
        if !is_told {
            publish_all(ctx.server, ctx.session, &changes, &[]);
        }
        notice(ctx.server, ctx.session, changes, expired_keys(&expired));
    }
}
