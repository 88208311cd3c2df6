//! Serving blocked clients: whoever changed a key runs the commands of those
//! who wait for it, first come first, once its own command is in the log and
//! its locks are gone. What that changes in turn is looked at afterwards, in
//! order, so that chains of BLMOVE work.

use std::collections::VecDeque;
use std::sync::Arc;

use super::blocking::{TimeoutReply, Waiter};
use super::client::Client;
use super::conclusion::{conclude, publish_all};
use super::dispatch::{Request, open_unless_busy, reply_error, run, stripes_of};
use super::gate;
use super::pause;
use super::session::Session;
use crate::acl::log::Place;
use crate::clock::{Ticks, count_answered, keep_if_notable};
use crate::cluster::slot_order::SETSLOT_ON_REPLICA;
use crate::cluster::slot_stats::{note_answered, note_unserved};
use crate::commands::command::Group;
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::keyspace::db::Db;
use crate::keyspace::entry::ValueType;
use crate::keyspace::recorder::{Change, GROUP_DESTROYED};
use crate::resp::reply::ReplyBuffer;
use crate::state::{Server, unix_ms};
use crate::stats::{Total, add};

/// What became of an attempt to serve a waiter.
enum Attempt {
    /// It was answered; these keys changed.
    Answered(Vec<Change>),
    /// There is nothing for it under this key, perhaps for another waiter; or it
    /// waits no more.
    Waits,
    /// A long script has one of its keys, or writes are paused.
    Later,
    /// There is no such key any more, so nothing for anybody but those who
    /// want to know that.
    KeyIsGone,
}

/// Serves the clients that wait for changed keys, and those that wait for
/// what that changes in turn.
pub fn serve_blocked(server: &'static Server, changes: Vec<Change>) {
    serve_keys(server, waited_for(server, changes).collect());
}

fn waited_for(
    server: &Server,
    changes: Vec<Change>,
) -> impl Iterator<Item = (u32, Box<[u8]>)> + '_ {
    changes
        .into_iter()
        .filter(|change| change.changed || change.event == GROUP_DESTROYED)
        .filter(|change| server.blocked.waits_for(change.db, &change.key))
        .map(|change| (change.db, change.key))
}

/// Serves those for whom a long script or a pause was in the way.
pub fn serve_put_off(server: &'static Server) {
    let keys = server.blocked.take_put_off();
    serve_keys(server, keys.into());
}

fn serve_keys(server: &'static Server, mut ready: VecDeque<(u32, Box<[u8]>)>) {
    if ready.is_empty() {
        return;
    }
    let _turn = server.blocked.turn();
    while let Some((db, key)) = ready.pop_front() {
        let (mut last, mut is_gone) = (0, false);
        let wanted = |is_gone: bool| move |waiter: &Waiter| !is_gone || waiter.minds_absence();
        while let Some(waiter) = server.blocked.next(db, &key, last, wanted(is_gone)) {
            last = waiter.number();
            match serve(server, &waiter, &key) {
                Attempt::Answered(changes) => ready.extend(waited_for(server, changes)),
                Attempt::Waits => {}
                Attempt::Later => {
                    server.blocked.put_off(db, key);
                    break;
                }
                Attempt::KeyIsGone => is_gone = true,
            }
        }
    }
}

/// The type that a waiter's command waits for; None when it looks at the key
/// whatever it is.
fn wanted_type(waiter: &Waiter) -> Option<ValueType> {
    match waiter.command.group {
        Group::List => Some(ValueType::List),
        Group::SortedSet => Some(ValueType::ZSet),
        Group::Stream if !waiter.minds_absence() => Some(ValueType::Stream),
        _ => None,
    }
}

/// A session to ask or run a waiter's command with again.
pub fn session_of(waiter: &Waiter) -> Session {
    let mut session = Session::new(waiter.client.clone(), true);
    session.db = waiter.db;
    // Who waits for a key of a slot that is being imported has said so.
    session.routing.asking = true;
    session
}

/// What becomes of a waiter who can't use the key as it is. One of another type is
/// none of his business, even if his command would call that an error.
fn unfit(waiter: &Waiter, db: &mut Db<'_>, key: &[u8]) -> Option<Attempt> {
    let wanted = wanted_type(waiter)?;
    match db.type_of(key) {
        Ok(None) => Some(Attempt::KeyIsGone),
        Ok(Some(found)) if found != wanted => Some(Attempt::Waits),
        _ => None,
    }
}

/// Tries a waiter's command again, because of `key`.
fn serve(server: &'static Server, waiter: &Arc<Waiter>, key: &[u8]) -> Attempt {
    let mut session = session_of(waiter);
    server.acl.assume_of_client(&mut session);
    let mut reply = ReplyBuffer::new(waiter.client.protocol());
    let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
    let Some(found) = table().find(&args) else {
        return Attempt::Waits;
    };
    let request = Request::new(found, &args, unix_ms());
    let started = Ticks::now();
    let stripes = stripes_of(waiter.command, &args);
    let Some(mut db) = open_unless_busy(server, &session, stripes, request.now_ms) else {
        return Attempt::Later;
    };
    // Under the lock: who has had the stripe since the pause began counts on that.
    if pause::is_on(server, request.now_ms) && pause::has_effects(waiter.command) {
        return Attempt::Later;
    }
    let unfit = unfit(waiter, &mut db, key);
    let mut ctx = Context {
        server,
        session: &mut session,
        db,
        reply: &mut reply,
        effects: Effects::default(),
        in_transaction: false,
        holds_all: false,
        prepared: None,
        block: None,
    };
    let (mut failed, mut refused) = (false, false);
    let unfit = unfit
        .or_else(|| is_paused(&mut ctx, found, &args).then_some(Attempt::Waits))
        .or_else(|| (!waiter.take_to_serve()).then_some(Attempt::Waits));
    if unfit.is_none() {
        refused = is_refused(&mut ctx, found, &args);
        failed = refused || run(&mut ctx, found, &args);
    }
    let waits = unfit.or_else(|| {
        ctx.block.take()?;
        waiter.put_back();
        Some(Attempt::Waits)
    });
    let Context { db, effects, .. } = ctx;
    let recorder = conclude(server, &session, db, &effects, failed, &request);
    for (total, count) in [
        (Total::Hits, recorder.hits),
        (Total::Misses, recorder.misses),
        (Total::Dirty, recorder.dirty),
    ] {
        server.stats.sets.add(total, count);
    }
    if !recorder.is_told {
        publish_all(server, &session, &recorder.changes, &recorder.messages);
    }
    if waits.is_none() {
        let nanos = started.elapsed_nanos();
        if !refused {
            count_answered(server, found.number(), nanos);
        }
        keep_if_notable(server, &session, &request, nanos, reply.buf.len());
        note_answered(server, waiter, nanos, reply.buf.len());
        answer(server, waiter, &reply.buf);
    }
    if server.tracking.any() {
        let (tracking, author) = (&server.tracking, waiter.client.id);
        tracking.invalidate(server, author, &recorder.changes, None);
    }
    waits.unwrap_or(Attempt::Answered(recorder.changes))
}

/// Whether the keys' slot is about to change hands: then nothing is served until
/// it is known who serves it.
fn is_paused(ctx: &mut Context<'_>, found: Found, args: &[&[u8]]) -> bool {
    let (server, session) = (ctx.server, &*ctx.session);
    let here = crate::cluster::route::check(server, session, found.command, args, None);
    here == Err(CommandError::Paused)
}

/// Whether the gate is closed to a waiter's command by now; then the reply
/// says so.
fn is_refused(ctx: &mut Context<'_>, found: Found, args: &[&[u8]]) -> bool {
    let server = ctx.server;
    let Err(error) = gate::check(server, ctx.session, found.command, args) else {
        return false;
    };
    let refusal = (&error, Place::TopLevel);
    gate::note_refusal(server, ctx.session, found.command, args, refusal);
    add(&server.stats.commands_of(found.number()).rejected, 1);
    reply_error(server, ctx.reply, &error);
    true
}

/// Ends a claimed waiter's wait with a reply.
pub fn answer(server: &Server, waiter: &Waiter, reply: &[u8]) {
    server.blocked.remove(waiter);
    *waiter.client.waiter.lock() = None;
    if !waiter.silent {
        waiter
            .client
            .send_bytes(&crate::settings::NO_OUTPUT_LIMIT, reply);
    }
    waiter.finish();
    waiter.client.bell.ring();
}

/// Answers whoever has asked for a shutdown that does not come.
pub fn answer_those_who_end(server: &Server) {
    for client in server.clients.all() {
        let waiter = client.waiter.lock().clone();
        let waiter = waiter.filter(|waiter| waiter.is_for_the_end());
        if let Some(waiter) = waiter.filter(|waiter| waiter.take()) {
            let mut reply = ReplyBuffer::new(client.protocol());
            waiter.reply_timeout(&mut reply);
            count_unserved(server, &waiter, true);
            answer(server, &waiter, &reply.buf);
        }
    }
}

/// Ends all waits with an error, since nothing can be waited for here any
/// more: the server has become a replica.
pub fn unblock_all(server: &Server) {
    for client in server.clients.all() {
        let Some(waiter) = client.waiter.lock().clone() else {
            continue;
        };
        if !waiter.interrupt() {
            continue;
        }
        if let Some(found) = table().by_name(waiter.command.name.as_bytes()) {
            add(&server.stats.commands_of(found.number()).failed, 1);
        }
        let mut reply = ReplyBuffer::new(client.protocol());
        let error = match waiter.on_timeout {
            TimeoutReply::SlotOrder(_) => CommandError::err(SETSLOT_ON_REPLICA),
            _ => CommandError::text(
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            ),
        };
        reply_error(server, &mut reply, &error);
        answer(server, &waiter, &reply.buf);
    }
}

/// Answers a client whose script was set aside, unless it is gone, and counts
/// the script.
pub fn answer_script(
    server: &Server,
    waiter: &Arc<Waiter>,
    reply: &[u8],
    failed: bool,
    started: Ticks,
) {
    let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
    if let Some(found) = table().find(&args) {
        let request = Request::new(found, &args, unix_ms());
        let session = Session::new(waiter.client.clone(), true);
        let nanos = started.elapsed_nanos();
        count_answered(server, found.number(), nanos);
        keep_if_notable(server, &session, &request, nanos, reply.len());
        note_answered(server, waiter, nanos, reply.len());
        if failed {
            add(&server.stats.commands_of(found.number()).failed, 1);
        }
    }
    if waiter.take() {
        answer(server, waiter, reply);
    }
}

/// Ends a client's wait before its time (CLIENT UNBLOCK): with the reply of a
/// timeout, or with an error. False when it does not wait.
pub fn unblock(server: &Server, client: &Client, with_error: bool) -> bool {
    let Some(waiter) = client.waiter.lock().clone() else {
        return false;
    };
    if !waiter.interrupt() {
        return false;
    }
    let mut reply = ReplyBuffer::new(client.protocol());
    if with_error {
        let error = CommandError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        reply_error(server, &mut reply, &error);
    } else {
        waiter.reply_timeout(&mut reply);
    }
    count_unserved(server, &waiter, with_error);
    answer(server, &waiter, &reply.buf);
    true
}

/// Counts a blocked command that ends without having got anything.
pub fn count_unserved(server: &Server, waiter: &Waiter, failed: bool) {
    let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
    if let Some(found) = table().find(&args) {
        count_answered(server, found.number(), 0);
        let request = Request::new(found, &args, unix_ms());
        let session = Session::new(waiter.client.clone(), true);
        keep_if_notable(server, &session, &request, 0, 0);
        note_unserved(server, waiter);
        if failed {
            add(&server.stats.commands_of(found.number()).failed, 1);
        }
    }
}
