//! The sections that count: stats, commandstats, errorstats, latencystats.

use std::sync::atomic::Ordering::Relaxed;

use super::Text;
use crate::acl::log::Reason;
use crate::commands::table::table;
use crate::config::{Value, id};
use crate::state::Server;
use crate::stats::Total;

pub fn stats(server: &Server, text: &mut Text) {
    let stats = &server.stats;
    let rates = stats.rates();
    let errors: u64 = stats.errors.lock().values().sum();
    text.field(
        "total_connections_received",
        stats.connections.load(Relaxed),
    );
    text.field(
        "total_commands_processed",
        stats.sets.total(Total::Processed),
    );
    text.field("instantaneous_ops_per_sec", rates.commands);
    text.field("total_net_input_bytes", stats.sets.total(Total::BytesIn));
    text.field("total_net_output_bytes", stats.sets.total(Total::BytesOut));
    let received = server.replication.link.received_bytes.load(Relaxed);
    text.field("total_net_repl_input_bytes", received);
    let sent = server.replication.sent_bytes.load(Relaxed);
    text.field("total_net_repl_output_bytes", sent);
    for name in [
        "total_net_cluster_slot_import_bytes",
        "total_net_cluster_slot_export_bytes",
    ] {
        text.field(name, 0);
    }
    let kilo = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    text.field("instantaneous_input_kbps", kilo(rates.bytes_in));
    text.field("instantaneous_output_kbps", kilo(rates.bytes_out));
    text.field("instantaneous_input_repl_kbps", "0.00");
    text.field("instantaneous_output_repl_kbps", "0.00");
    text.field(
        "rejected_connections",
        stats.rejected_connections.load(Relaxed),
    );
    let replication = &server.replication;
    text.field("sync_full", replication.full_syncs.load(Relaxed));
    text.field("sync_partial_ok", replication.partial_syncs.load(Relaxed));
    let refused = replication.partial_refusals.load(Relaxed);
    text.field("sync_partial_err", refused);
    keys(server, text);
    clients(server, text, errors);
}

/// What happened to keys, and what is known of them besides.
fn keys(server: &Server, text: &mut Text) {
    let stats = &server.stats;
    text.field("expired_keys", stats.expired.load(Relaxed));
    text.field("expired_fields", server.keyspace.expired_fields());
    text.field("expired_stale_perc", "0.00");
    text.field("expired_keys_with_volatile_items_stale_perc", "0.00");
    let cut_short = stats.expiry_cut_short.load(Relaxed);
    text.field("expired_time_cap_reached_count", cut_short);
    let spent_ms = stats.expiry_nanos.load(Relaxed) / 1_000_000;
    text.field("expire_cycle_cpu_milliseconds", spent_ms);
    let (exceeded_us, exceeding_us) = server.eviction.exceeded_us();
    text.field("evicted_keys", server.eviction.evicted.load(Relaxed));
    let evicted_clients = server.client_memory.evicted.load(Relaxed);
    text.field("evicted_clients", evicted_clients);
    let evicted_scripts = server.scripting.scripts.lock().evicted;
    text.field("evicted_scripts", evicted_scripts);
    text.field("total_eviction_exceeded_time", exceeded_us / 1000);
    text.field("current_eviction_exceeded_time", exceeding_us / 1000);
    text.field("keyspace_hits", stats.sets.total(Total::Hits));
    text.field("keyspace_misses", stats.sets.total(Total::Misses));
    let [channels, patterns, shard_channels] = super::sections::subscriptions(server);
    text.field("pubsub_channels", channels);
    text.field("pubsub_patterns", patterns);
    text.field("pubsubshard_channels", shard_channels);
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("migrate_cached_sockets", server.migrate_links.count());
    for name in [
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ] {
        text.field(name, 0);
    }
    let [keys, items, prefixes] = server.tracking.totals();
    text.field("tracking_total_keys", keys);
    text.field("tracking_total_items", items);
    text.field("tracking_total_prefixes", prefixes);
    text.field("unexpected_error_replies", 0);
}

/// What was answered to clients, and why some were closed or refused.
fn clients(server: &Server, text: &mut Text, errors: u64) {
    let (stats, settings) = (&server.stats, &server.settings);
    text.field("total_error_replies", errors);
    for name in [
        "dump_payload_sanitizations",
        "total_reads_processed",
        "total_writes_processed",
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "io_threaded_freed_objects",
        "io_threaded_accept_processed",
        "io_threaded_poll_processed",
        "io_threaded_total_prefetch_batches",
        "io_threaded_total_prefetch_entries",
    ] {
        text.field(name, 0);
    }
    let limits = [&settings.normal_output_limit, &settings.pubsub_output_limit];
    let closes: u64 = limits.iter().map(|limit| limit.closes.load(Relaxed)).sum();
    let by_query = stats.query_limit_closes.load(Relaxed);
    text.field("client_query_buffer_limit_disconnections", by_query);
    text.field("client_output_buffer_limit_disconnections", closes);
    for name in ["reply_buffer_shrinks", "reply_buffer_expands"] {
        text.field(name, 0);
    }
    let denied = |reason| server.acl.log.denied(reason);
    text.field("acl_access_denied_auth", denied(Reason::Auth));
    text.field("acl_access_denied_cmd", denied(Reason::Command));
    text.field("acl_access_denied_key", denied(Reason::Key));
    text.field("acl_access_denied_channel", denied(Reason::Channel));
    text.field("acl_access_denied_tls_cert", 0);
    text.field("acl_access_denied_db", denied(Reason::Database));
}

pub fn commands(server: &Server, text: &mut Text) {
    for (number, command) in table().all().iter().enumerate() {
        let stats = server.stats.commands_of(number);
        let sets = &server.stats.sets;
        let (calls, rejected) = (sets.calls(number), stats.rejected.load(Relaxed));
        if calls + rejected == 0 {
            continue;
        }
        let failed = stats.failed.load(Relaxed);
        let micros = sets.nanos(number) / 1000;
        let each = match calls {
            0 => 0.0,
            calls => micros as f64 / calls as f64,
        };
        text.field(
            &format!("cmdstat_{}", command.name),
            format_args!(
                "calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

pub fn errors(server: &Server, text: &mut Text) {
    for (word, count) in server.stats.errors.lock().iter() {
        text.field(&format!("errorstat_{word}"), format_args!("count={count}"));
    }
}

pub fn latencies(server: &Server, text: &mut Text) {
    let config = server.config.read();
    if !config.bool(id("latency-tracking")) {
        return;
    }
    let Value::Percentiles(percentiles) = config.value(id("latency-tracking-info-percentiles"))
    else {
        return;
    };
    for (number, command) in table().all().iter().enumerate() {
        let sets = &server.stats.sets;
        if sets.calls(number) == 0 {
            continue;
        }
        let runs = sets.latency(number);
        let shown: Vec<String> = percentiles
            .iter()
            .map(|&percent| format!("p{percent}={:.3}", runs.percentile_us(percent)))
            .collect();
        text.field(
            &format!("latency_percentiles_usec_{}", command.name),
            shown.join(","),
        );
    }
}
