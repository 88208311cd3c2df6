//! What a replica says while it is fed: how far it is, and that it is there.

use std::io::Read;
use std::sync::atomic::Ordering;

use socket2::Socket;

use super::feeder::is_timeout;
use crate::commands::table::table;
use crate::replication::replicas::Replica;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::state::Server;
use crate::stats::add;

/// Bytes of one request of a replica. What it has to say is short.
const REQUEST_BYTES: usize = 1 << 20;

/// Hears what a replica says, until it is gone.
pub(super) fn hear(server: &'static Server, replica: &Replica, mut socket: &Socket, rest: Vec<u8>) {
    let limits = RequestLimits {
        max_bulk_bytes: REQUEST_BYTES as i64,
        authenticated: true,
    };
    let mut parser = RequestParser::new();
    let (mut input, mut ranges) = (rest, Vec::new());
    let mut chunk = [0; 1024];
    loop {
        let mut start = 0;
        loop {
            match parser.next(&input[start..], &limits, &mut ranges) {
                Ok(Parsed::Complete { consumed }) => {
                    let from = &input[start..];
                    let words: Vec<&[u8]> = ranges.iter().map(|r| &from[r.clone()]).collect();
                    heed(server, replica, &words);
                    ranges.clear();
                    start += consumed;
                }
                Ok(Parsed::Words { consumed } | Parsed::Inline { consumed }) => {
                    ranges.clear();
                    start += consumed;
                }
                Ok(Parsed::Empty { consumed }) => {
                    start += consumed;
                    let now_ms = server.replication.now_ms();
                    replica.peer.lock().note_newline(now_ms);
                }
                Ok(Parsed::Incomplete { .. }) => break,
                Err(_) => return replica.client.kill(),
            }
        }
        input.drain(..start);
        if input.len() > REQUEST_BYTES {
            tracing::warn!(
                "A request of replica {} is too long",
                replica.client.address
            );
            break;
        }
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                add(&replica.client.bytes_in, count as u64);
                input.extend_from_slice(&chunk[..count]);
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => break,
        }
        if replica.client.killed.load(Ordering::Acquire) {
            break;
        }
    }
    replica.client.kill();
    server.count_good_replicas();
    server.replication.log_bell.ring();
}

fn heed(server: &'static Server, replica: &Replica, words: &[&[u8]]) {
    if !words[0].eq_ignore_ascii_case(b"replconf") {
        let name = table().find(words).map_or_else(
            || String::from_utf8_lossy(words[0]).to_ascii_lowercase(),
            |found| found.command.name.to_owned(),
        );
        // Its answer would be taken for a part of the stream.
        tracing::warn!(
            "Replica generated a reply to command '{name}', disconnecting it: {}",
            replica.client.address
        );
        return replica.client.kill();
    }
    let replication = &server.replication;
    let now_ms = replication.now_ms();
    let _ = replica.peer.lock().configure(now_ms, &words[1..]);
    let heard_ms = &replication.replicas.heard_ms;
    heard_ms.store(now_ms, Ordering::Relaxed);
    replica
        .client
        .active_ms
        .store(crate::state::unix_ms(), Ordering::Relaxed);
    replication.replicas.answer_waiters(server);
    if server.settings.min_replicas.load(Ordering::Relaxed) != 0 {
        server.count_good_replicas();
    }
}
