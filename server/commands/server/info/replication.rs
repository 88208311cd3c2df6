//! The section about replication.

use std::sync::atomic::Ordering::Relaxed;

use redoubt_cluster::replication::history::FORMER;
use redoubt_cluster::replication::link::Phase;
use redoubt_cluster::replication::peer::Stage;

use super::Text;
use crate::config::id;
use crate::state::Server;

pub fn replication(server: &Server, text: &mut Text) {
    let replication = &server.replication;
    let identity = replication.identity();
    let end = server.log().map_or(0, |log| log.end().0);
    let oldest = server.log().map_or(0, |log| log.oldest_readable().0);
    match replication.target() {
        None => text.field("role", "master"),
        Some(target) => {
            text.field("role", "slave");
            text.field("master_host", &target.host);
            text.field("master_port", target.port);
            link(server, text, identity.stream_offset(end));
        }
    }
    replicas(server, text);
    text.field("master_failover_state", replication.failover.name());
    text.field("master_replid", identity.history.id);
    match identity.history.before.last() {
        Some((id, _)) => text.field("master_replid2", id),
        None => text.field("master_replid2", "0".repeat(40)),
    }
    text.field("master_repl_offset", identity.stream_offset(end));
    match identity.history.before.last() {
        Some((_, end)) => text.field("second_repl_offset", end + 1),
        None => text.field("second_repl_offset", -1),
    }
    text.field(FORMER, identity.history.former_names());
    text.field("repl_backlog_active", u8::from(server.log().is_some()));
    let size = server.config.read().integer(id("repl-backlog-size"));
    text.field("repl_backlog_size", size);
    let retained = identity.retained(oldest, end);
    text.field("repl_backlog_first_byte_offset", retained.first + 1);
    text.field("repl_backlog_histlen", retained.end - retained.first);
}

/// What a replica says of its primary.
fn link(server: &Server, text: &mut Text, offset: u64) {
    let link = &server.replication.link;
    let now_ms = server.replication.now_ms();
    let (up, syncing) = (link.is_up(), link.phase() == Phase::Syncing);
    text.field("master_link_status", if up { "up" } else { "down" });
    let heard_s = now_ms.saturating_sub(link.heard_ms.load(Relaxed)) / 1000;
    let heard_s = if up || syncing { heard_s as i64 } else { -1 };
    text.field("master_last_io_seconds_ago", heard_s);
    text.field("master_sync_in_progress", u8::from(syncing));
    text.field("slave_read_repl_offset", offset);
    text.field("slave_repl_offset", offset);
    if syncing {
        text.field("master_sync_total_bytes", 0);
        let loaded = link.loaded_bytes.load(Relaxed);
        text.field("master_sync_read_bytes", loaded);
        text.field("master_sync_left_bytes", -(loaded as i64));
        text.field("master_sync_perc", "0.00");
        text.field("master_sync_last_io_seconds_ago", heard_s);
    }
    text.field("replicas_repl_buffer_size", 0);
    text.field("replicas_repl_buffer_peak", 0);
    if !up {
        let since_ms = link.down_since_ms.load(Relaxed);
        let down_s = now_ms.saturating_sub(since_ms) / 1000;
        text.field("master_link_down_since_seconds", down_s);
    }
    let config = server.config.read();
    text.field("slave_priority", config.integer(id("replica-priority")));
    text.field(
        "slave_read_only",
        u8::from(config.bool(id("replica-read-only"))),
    );
    text.field(
        "replica_announced",
        u8::from(config.bool(id("replica-announced"))),
    );
}

fn replicas(server: &Server, text: &mut Text) {
    let now_ms = server.replication.now_ms();
    let all = server.replication.replicas.connected();
    text.field("connected_slaves", all.len());
    let settings = &server.settings;
    if settings.min_replicas.load(Relaxed) != 0 {
        text.field("min_slaves_good_slaves", server.replication.replicas.good());
    }
    let mut waiting = 0;
    for (number, replica) in all.iter().enumerate() {
        let (ip, peer) = (replica.ip(), replica.peer.lock().clone());
        waiting += usize::from(peer.stage == Stage::WaitsForSnapshot);
        let lag_s = match peer.stage {
            Stage::Online if peer.acknowledges => peer.lag_s(now_ms),
            _ => 0,
        };
        text.field(
            &format!("slave{number}"),
            format_args!(
                "ip={ip},port={},state={},offset={},lag={lag_s},type=replica",
                peer.listening_port,
                peer.stage.name(),
                peer.applied,
            ),
        );
    }
    text.field("replicas_waiting_psync", waiting);
}
