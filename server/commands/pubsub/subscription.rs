//! Beginning and ending subscriptions, and telling the client of each.
//!
//! Every name is confirmed by a message of its own: the kind's word, the name,
//! and how many names the client listens to now. These messages reach clients
//! that want no replies (CLIENT REPLY) too.

use std::sync::atomic::Ordering;

use crate::commands::context::Context;
use crate::connection::memory::listed_bytes;
use crate::connection::pubsub::Kind;
use crate::connection::session::{ReplyMode, Session};
use crate::settings::NO_OUTPUT_LIMIT;
use crate::state::Server;

/// The first word of confirmations, for beginning and end.
fn words(kind: Kind) -> [&'static [u8]; 2] {
    match kind {
        Kind::Channel => [b"subscribe", b"unsubscribe"],
        Kind::Pattern => [b"psubscribe", b"punsubscribe"],
        Kind::Shard => [b"ssubscribe", b"sunsubscribe"],
    }
}

/// How many names a session listens to, as a confirmation of this kind says.
fn count(session: &Session, kind: Kind) -> usize {
    match kind {
        Kind::Channel | Kind::Pattern => session.subscription_count(),
        Kind::Shard => session.subscriptions[kind as usize].len(),
    }
}

fn publish_count(session: &Session, kind: Kind) {
    let names = session.subscriptions[kind as usize].len() as u32;
    session.client.subscriptions[kind as usize].store(names, Ordering::Relaxed);
}

fn confirm(ctx: &mut Context<'_>, word: &[u8], name: Option<&[u8]>, kind: Kind) {
    let count = count(ctx.session, kind) as i64;
    ctx.reply.push(3);
    ctx.reply.bulk(word);
    match name {
        Some(name) => ctx.reply.bulk(name),
        None => ctx.reply.null(),
    }
    ctx.reply.integer(count);
}

/// Begins to listen to names.
pub fn join(ctx: &mut Context<'_>, kind: Kind, names: &[&[u8]]) {
    let mark = ctx.reply.len();
    for &name in names {
        if ctx.session.subscriptions[kind as usize].insert(name.to_vec()) {
            publish_count(ctx.session, kind);
            ctx.server.pubsub.subscribe(kind, name, &ctx.session.client);
            let held = &ctx.session.client.held;
            held.subscribed
                .fetch_add(listed_bytes(name), Ordering::Relaxed);
        }
        confirm(ctx, words(kind)[0], Some(name), kind);
    }
    send_if_no_replies(ctx, mark);
}

/// Ends listening to names, or to all of a kind if none is given.
pub fn leave(ctx: &mut Context<'_>, kind: Kind, names: &[&[u8]]) {
    let of_kind = kind as usize;
    let mark = ctx.reply.len();
    let all: Vec<Vec<u8>> = match names {
        [] => ctx.session.subscriptions[of_kind].iter().cloned().collect(),
        names => names.iter().map(|name| name.to_vec()).collect(),
    };
    if all.is_empty() {
        confirm(ctx, words(kind)[1], None, kind);
    }
    for name in all {
        if ctx.session.subscriptions[of_kind].remove(&name) {
            ctx.server
                .pubsub
                .unsubscribe(kind, &name, &ctx.session.client);
            let held = &ctx.session.client.held;
            held.subscribed
                .fetch_sub(listed_bytes(&name), Ordering::Relaxed);
            publish_count(ctx.session, kind);
            // No message may come behind the confirmation.
            if !ctx.in_transaction {
                ctx.session.client.take_outbox(&mut ctx.reply.buf);
            }
        }
        confirm(ctx, words(kind)[1], Some(&name), kind);
    }
    send_if_no_replies(ctx, mark);
}

/// A client that wants no replies gets its confirmations as others' messages.
fn send_if_no_replies(ctx: &mut Context<'_>, mark: usize) {
    if ctx.session.reply_mode != ReplyMode::On {
        let messages = ctx.reply.buf.split_off(mark);
        ctx.session.client.send_bytes(&NO_OUTPUT_LIMIT, &messages);
    }
}

/// Forgets shard channels whose slots have left: others have ended these
/// subscriptions.
#[cold]
pub fn forget_revoked(session: &mut Session) {
    let client = session.client.clone();
    client.any_revoked.store(false, Ordering::Release);
    for name in client.revoked.lock().drain(..) {
        if session.subscriptions[Kind::Shard as usize].remove(&*name) {
            let bytes = listed_bytes(&name);
            client.held.subscribed.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
    publish_count(session, Kind::Shard);
}

/// Ends all subscriptions of a session without a word.
pub fn leave_all(server: &Server, session: &mut Session) {
    for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
        for name in std::mem::take(&mut session.subscriptions[kind as usize]) {
            server.pubsub.unsubscribe(kind, &name, &session.client);
        }
        publish_count(session, kind);
    }
    let held = &session.client.held;
    held.subscribed.store(0, Ordering::Relaxed);
}
