//! How much of a reply is built: no more than its client may leave unread. A
//! transaction and a script go on to their end whatever becomes of the reply.

use std::sync::atomic::Ordering;

use super::client::{Client, FIXED_BYTES};
use super::session::{ReplyMode, Session};
use crate::resp::reply::ReplyBuffer;
use crate::settings::OutputLimit;
use crate::state::Server;

/// The limit on what a client has not taken yet.
pub fn limit_of<'s>(server: &'s Server, client: &Client) -> &'s OutputLimit {
    if client.is_subscriber() {
        &server.settings.pubsub_output_limit
    } else {
        &server.settings.normal_output_limit
    }
}

/// How many bytes a session's reply may have by the limit of its client's
/// class, if there is one.
pub fn most_bytes(server: &Server, session: &Session) -> Option<usize> {
    let limit = limit_of(server, &session.client);
    if session.replaying || session.client.is_peer() {
        return None;
    }
    match limit.hard_bytes.load(Ordering::Relaxed) {
        0 => None,
        hard => Some(hard.max(FIXED_BYTES) as usize),
    }
}

/// Puts a null in place of what stands behind `mark`, for it is beyond
/// [`most_bytes`], and ends the client, unless it wants no replies.
pub fn give_up(server: &Server, session: &Session, reply: &mut ReplyBuffer, mark: usize) {
    let bytes = reply.len() as u64;
    reply.truncate(mark);
    reply.null();
    if matches!(session.reply_mode, ReplyMode::On | ReplyMode::SkipNext) {
        let client = &session.client;
        client.kill_for_output(limit_of(server, client), bytes);
    }
}
