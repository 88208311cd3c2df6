//! What follows a command's run: the log, broken WATCHes and notifications while
//! its keys are still locked (I1), then counters, and the clients that waited for
//! what changed.

use std::sync::atomic::Ordering;

use super::dispatch::Request;
use super::pubsub::Kind;
use super::session::Session;
use crate::cluster::slot_stats;
use crate::commands::effects::{Effects, encode, encode_expired, encoded_len};
use crate::commands::pubsub::publish;
use crate::keyspace::db::Db;
use crate::keyspace::recorder::{Change, Message, Recorder, expired_keys};
use crate::settings::{NOTIFY_KEYEVENT, NOTIFY_KEYSPACE};
use crate::state::Server;
use crate::stats::add;

/// Puts a command's effects into the log, breaks WATCHes and notifies, then
/// unlocks.
pub(super) fn conclude(
    server: &Server,
    session: &Session,
    db: Db<'_>,
    effects: &Effects,
    failed: bool,
    request: &Request,
) -> Recorder {
    let mut db = db;
    let mut recorder = std::mem::take(&mut db.recorder);
    if !session.replaying && (recorder.dirty != 0 || !recorder.expired.is_empty()) {
        log_effects(server, session.db, &recorder, effects, failed, request);
    } else if session.following.is_some() {
        log_stream(server, session, &db);
    }
    if server.watches.any() && session.is_heard() {
        break_watches(server, &recorder);
    }
    announce(server, session, &mut recorder);
    drop(db);
    recorder
}

/// Puts what came from our primary into our log, byte for byte, under the locks
/// of what it changes. Without any it is left to the caller.
pub fn log_stream(server: &Server, session: &Session, db: &Db<'_>) {
    if !db.holds_any() {
        return;
    }
    if let (Some(part), Some(log)) = (session.stream_part.take(), server.log()) {
        log.append_raw_selected(&part, session.db);
    }
}

/// Puts what a command did into the log.
#[inline]
pub(super) fn log_effects(
    server: &Server,
    index: u32,
    recorder: &Recorder,
    effects: &Effects,
    failed: bool,
    request: &Request,
) {
    let Some(log) = server.own_log() else { return };
    if !recorder.expired.is_empty() {
        append_expired(server, recorder);
    }
    if recorder.dirty == 0 {
        return;
    }
    // A command that fails has changed nothing, by contract. Should one have,
    // what it named or else the command itself is logged: replay, which takes
    // errors from such a command only, then ends in the same state.
    if failed {
        tracing::warn!(
            "{} failed after it had changed something",
            request.found.command.name
        );
    }
    match (effects.explicit(), request.raw) {
        (Some([]), _) => {}
        (Some(explicit), _) => {
            log.append(index, explicit, index);
        }
        (None, Some(raw)) if raw.len() == encoded_len(request.args) => {
            log.append(index, raw, index);
        }
        (None, _) => {
            let mut bytes = Vec::with_capacity(encoded_len(request.args));
            encode(&mut bytes, request.args);
            log.append(index, &bytes, index);
        }
    }
    if slot_stats::kept(server).is_some() {
        let bytes = match effects.explicit() {
            Some(explicit) => explicit.len(),
            None => encoded_len(request.args),
        };
        slot_stats::note_replicated(server, slot_stats::slot_of(request), bytes);
    }
}

/// Logs the removal of keys that were found expired.
pub fn append_expired(server: &Server, recorder: &Recorder) {
    let Some(log) = server.own_log() else { return };
    add(&server.stats.expired, expired_keys(&recorder.expired));
    for expired in &recorder.expired {
        let mut bytes = Vec::new();
        encode_expired(&mut bytes, server.settings.expire_word(), expired);
        log.append(expired.db, &bytes, expired.db);
    }
}

/// Breaks the transactions that watch what changed.
pub fn break_watches(server: &Server, recorder: &Recorder) {
    let changes = &recorder.changes[recorder.told_watches..];
    for change in changes.iter().filter(|change| change.changed) {
        server.watches.touch(change.db, &change.key);
    }
}

/// Publishes keyspace notifications, and messages among them, while the keys are
/// still locked: those about a key come in the order of its changes. Only the locks
/// of subscriptions and outboxes are taken for that; who has one locks no key.
#[inline]
pub fn announce(server: &Server, session: &Session, recorder: &mut Recorder) {
    if !recorder.changes.is_empty() && server.settings.notify.load(Ordering::Relaxed) != 0 {
        publish_all(server, session, &recorder.changes, &recorder.messages);
        recorder.is_told = true;
    }
}

/// Breaks WATCHes and notifies, of what was not one command of its own: a
/// transaction, a script, or the server itself.
pub fn tell(server: &Server, session: &Session, recorder: &mut Recorder) {
    if server.watches.any() {
        break_watches(server, recorder);
    }
    announce(server, session, recorder);
}

/// What follows once the locks are gone: counters, what was not told before, and
/// the clients that waited for what changed.
pub fn after(server: &'static Server, session: &mut Session, recorder: Recorder) {
    session.tally.hits += recorder.hits;
    session.tally.misses += recorder.misses;
    session.tally.dirty += recorder.dirty;
    session.wrote |= recorder.dirty != 0;
    if server.tracking.any() {
        if recorder.flushed {
            server.tracking.flush(server);
        }
        let (author, stale) = (session.client.id, recorder.stale);
        let changes = &recorder.changes;
        server.tracking.invalidate(server, author, changes, stale);
    }
    let expired = expired_keys(&recorder.expired);
    if !recorder.is_told {
        publish_all(server, session, &recorder.changes, &recorder.messages);
    }
    notice(server, session, recorder.changes, expired);
}

/// Counts keys that had expired, and serves the clients that waited for what
/// changed.
pub(super) fn notice(
    server: &'static Server,
    session: &Session,
    changes: Vec<Change>,
    expired: u64,
) {
    if server.log().is_none() && expired != 0 {
        add(&server.stats.expired, expired);
    }
    if !session.is_heard() || changes.is_empty() {
        return;
    }
    if server.blocked.clients() != 0 {
        super::serve::serve_blocked(server, changes);
    }
}

/// Tells of changes and of what was published on the way.
pub(super) fn publish_all(
    server: &Server,
    session: &Session,
    changes: &[Change],
    messages: &[Message],
) {
    if !session.is_heard() || session.routing.leaving {
        return;
    }
    let mut told = 0;
    for message in messages {
        notify(server, &changes[told..message.behind]);
        told = message.behind;
        publish::send_message(server, message);
    }
    notify(server, &changes[told..]);
}

/// Publishes keyspace notifications.
fn notify(server: &Server, changes: &[Change]) {
    let wanted = server.settings.notify.load(Ordering::Relaxed);
    if wanted & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT) == 0 {
        return;
    }
    let limit = &server.settings.pubsub_output_limit;
    for change in changes.iter().filter(|change| change.class & wanted != 0) {
        if wanted & NOTIFY_KEYSPACE != 0 {
            let mut channel = format!("__keyspace@{}__:", change.db).into_bytes();
            channel.extend_from_slice(&change.key);
            server
                .pubsub
                .publish(Kind::Channel, &channel, change.event.as_bytes(), limit);
        }
        if wanted & NOTIFY_KEYEVENT != 0 {
            let channel = format!("__keyevent@{}__:{}", change.db, change.event);
            server
                .pubsub
                .publish(Kind::Channel, channel.as_bytes(), &change.key, limit);
        }
    }
}
