//! The sections about server, clients, memory, persistence, replication and
//! keys.

use redoubt_cluster::replication::link::Phase;
use std::sync::atomic::Ordering::Relaxed;

use super::Text;
use super::process::{resident_bytes, system_bytes, system_name};
use crate::config::id;
use crate::connection::pause::Purpose;
use crate::connection::pubsub::Kind;
use crate::keyspace::garbage::FREED;
use crate::runtime::supervisor;
use crate::state::{Server, unix_ms};
use crate::stats::Total;

pub fn server(server: &Server, text: &mut Text) {
    let config = server.config.read();
    let port = config.integer(id("port"));
    let uptime_s = server.started.elapsed().as_secs();
    let now_us = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    text.field("redis_version", crate::state::REDIS_VERSION);
    text.field("server_name", "redoubt");
    text.field("valkey_version", crate::state::VALKEY_VERSION);
    text.field("valkey_release_stage", "ga");
    text.field("redoubt_version", env!("CARGO_PKG_VERSION"));
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", 0);
    let mode = match server.cluster.is_some() {
        true => "cluster",
        false => "standalone",
    };
    text.field("server_mode", mode);
    text.field("os", system_name());
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", crate::clock::describe());
    text.field("multiplexing_api", "epoll");
    text.field("gcc_version", "0.0.0");
    text.field("process_id", std::process::id());
    text.field("process_supervised", supervisor::name(&config));
    text.field("run_id", &server.run_id);
    text.field("tcp_port", port);
    text.field("server_time_usec", now_us);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86400);
    text.field("hz", config.integer(id("hz")));
    text.field("configured_hz", config.integer(id("hz")));
    text.field("clients_hz", config.integer(id("hz")));
    text.field("lru_clock", (unix_ms() / 1000) & 0xff_ffff);
    let executable = std::env::current_exe().unwrap_or_default();
    text.field("executable", executable.display());
    let file = server.config_file.clone().unwrap_or_default();
    text.field("config_file", file.display());
    text.field("io_threads_active", 0);
    text.field("availability_zone", config.string(id("availability-zone")));
    let bind = config.string(id("bind"));
    let mut listener = String::from("name=tcp");
    for address in bind.split_ascii_whitespace() {
        listener.push_str(&format!(",bind={address}"));
    }
    text.field("listener0", format_args!("{listener},port={port}"));
    if let Some(left_ms) = server.shutdown.left_ms() {
        text.field("shutdown_in_milliseconds", left_ms);
    }
}

pub fn clients(server: &Server, text: &mut Text) {
    let all = server.clients.all();
    let count = |wanted: &dyn Fn(&crate::connection::client::Client) -> bool| {
        all.iter().filter(|client| wanted(client)).count()
    };
    let input = all
        .iter()
        .map(|client| client.query_bytes.load(Relaxed))
        .max();
    let output = all.iter().map(|client| client.outbox_bytes()).max();
    let replicas = server.replication.replicas.len();
    text.field("connected_clients", all.len().saturating_sub(replicas));
    text.field("cluster_connections", 0);
    text.field("maxclients", server.settings.maxclients.load(Relaxed));
    text.field("client_recent_max_input_buffer", input.unwrap_or(0));
    text.field("client_recent_max_output_buffer", output.unwrap_or(0));
    text.field("blocked_clients", server.blocked.clients());
    text.field("tracking_clients", server.tracking.clients());
    let subscribed = |client: &crate::connection::client::Client| {
        client
            .subscriptions
            .iter()
            .any(|count| count.load(Relaxed) != 0)
    };
    text.field("pubsub_clients", count(&subscribed));
    text.field(
        "watching_clients",
        count(&|client| client.watched_keys() != 0),
    );
    text.field("clients_in_timeout_table", 0);
    text.field("total_watched_keys", server.watches.keys());
    text.field("total_blocking_keys", server.blocked.keys());
    text.field(
        "total_blocking_keys_on_nokey",
        server.blocked.keys_that_must_be(),
    );
    pauses(server, text);
}

fn pauses(server: &Server, text: &mut Text) {
    let (pauses, now_ms) = (&server.pauses, unix_ms());
    let reason = match pauses.in_force(now_ms) {
        None | Some(Purpose::Reload) => "none",
        Some(Purpose::Client) => "client_pause",
        Some(Purpose::Shutdown) => "shutdown_in_progress",
        Some(Purpose::Failover | Purpose::ManualFailover) => "failover_in_progress",
    };
    let actions = match reason {
        "none" => "none",
        _ if pauses.holds_all(now_ms) => "all",
        _ => "write",
    };
    let left_ms = (pauses.next_end_ms(now_ms) - now_ms).max(0);
    text.field("paused_reason", reason);
    text.field("paused_actions", actions);
    text.field("paused_timeout_milliseconds", left_ms);
}

/// The fields about interpreters, scripts and functions: all interpreters
/// serve both.
fn memory_of_scripts(server: &Server, text: &mut Text) {
    let scripting = &server.scripting;
    let interpreters = scripting.used_bytes();
    let (scripts, scripts_bytes) = {
        let scripts = scripting.scripts.lock();
        (scripts.len(), scripts.bytes)
    };
    let (libraries, functions, libraries_bytes) = {
        let all = scripting.libraries.read();
        let bytes: usize = all.all().map(|library| library.code.len()).sum();
        let (libraries, functions) = all.counts();
        (libraries, functions, bytes as u64)
    };
    text.bytes("used_memory_lua", interpreters);
    text.field("used_memory_vm_eval", interpreters);
    text.field("used_memory_scripts_eval", scripts_bytes);
    text.field("number_of_cached_scripts", scripts);
    text.field("number_of_functions", functions);
    text.field("number_of_libraries", libraries);
    text.field("used_memory_vm_functions", 0);
    text.bytes("used_memory_vm_total", interpreters);
    text.field("used_memory_functions", libraries_bytes);
    text.bytes("used_memory_scripts", scripts_bytes + libraries_bytes);
}

pub fn memory(server: &Server, text: &mut Text) {
    let used = crate::memory::used_bytes();
    let resident = resident_bytes();
    let peak = server.stats.peak_memory(used);
    let limit = server.settings.maxmemory.load(Relaxed);
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    text.bytes("used_memory", used);
    text.bytes("used_memory_rss", resident);
    text.bytes("used_memory_peak", peak);
    let percent = ratio(used, peak) * 100.0;
    text.field("used_memory_peak_perc", format_args!("{percent:.2}%"));
    let startup = server.stats.startup_memory.load(Relaxed);
    let dataset = used.saturating_sub(startup);
    text.field("used_memory_overhead", startup);
    text.field("used_memory_startup", startup);
    text.field("used_memory_dataset", dataset);
    let percent = ratio(dataset, used.saturating_sub(startup)) * 100.0;
    text.field("used_memory_dataset_perc", format_args!("{percent:.2}%"));
    text.field("allocator_allocated", used);
    text.field("allocator_active", resident);
    text.field("allocator_resident", resident);
    text.field("allocator_muzzy", 0);
    text.bytes("total_system_memory", system_bytes());
    memory_of_scripts(server, text);
    text.bytes("maxmemory", limit);
    let policy = server
        .config
        .read()
        .string(id("maxmemory-policy"))
        .into_owned();
    text.field("maxmemory_policy", policy);
    let fragmentation = ratio(resident, used);
    text.field("allocator_frag_ratio", "1.00");
    text.field("allocator_frag_bytes", 0);
    text.field("allocator_rss_ratio", "1.00");
    text.field("allocator_rss_bytes", 0);
    text.field("rss_overhead_ratio", "1.00");
    text.field("rss_overhead_bytes", 0);
    text.field(
        "mem_fragmentation_ratio",
        format_args!("{fragmentation:.2}"),
    );
    text.field("mem_fragmentation_bytes", resident as i64 - used as i64);
    let uncounted = crate::eviction::uncounted_bytes(server);
    text.field("mem_not_counted_for_evict", uncounted);
    text.field("mem_replication_backlog", 0);
    text.field("mem_total_replication_buffers", 0);
    text.field("mem_replicas_repl_buffer", 0);
    text.field("mem_clients_slaves", 0);
    let clients = server.clients.all();
    let buffers: u64 = clients.iter().map(|client| client.memory_bytes()).sum();
    text.field("mem_clients_normal", buffers);
    let cluster = server.cluster.as_ref();
    let links = cluster.map_or(0, |cluster| cluster.queues.memory_bytes());
    text.field("mem_cluster_links", links);
    let log = server.log().map_or(0, |log| log.buffer_bytes());
    text.field("mem_cluster_slot_import", 0);
    text.field("mem_cluster_slot_export", 0);
    text.field("mem_aof_buffer", log);
    text.field("mem_allocator", "mimalloc");
    text.field("mem_overhead_db_hashtable_rehashing", 0);
    text.field("active_defrag_running", 0);
    let pending = FREED.pending.load(Relaxed);
    text.field("lazyfree_pending_objects", pending);
    text.field("lazyfreed_objects", FREED.done.load(Relaxed));
}

pub fn persistence(server: &Server, text: &mut Text) {
    let stats = &server.stats;
    let log_ok = server.log().is_none_or(|log| log.failure().is_none());
    let status = |ok: bool| if ok { "ok" } else { "err" };
    let tree_ok = !server.health.has(crate::health::Trouble::Tree);
    text.field("loading", u8::from(server.loading.load(Relaxed)));
    // A full sync loads beside the data, which is served meanwhile.
    let syncing = server.replication.link.phase() == Phase::Syncing;
    text.field("async_loading", u8::from(syncing));
    text.field("current_cow_peak", 0);
    text.field("current_cow_size", 0);
    text.field("current_cow_size_age", 0);
    let (keys_done, keys_total) = (&server.saves.keys_done, &server.saves.keys_total);
    let saves = server.saves.figures();
    let running = saves.running_s.is_some();
    let (done, total) = match running {
        true => (keys_done.load(Relaxed), keys_total.load(Relaxed)),
        false => (0, 0),
    };
    let percent = 100.0 * done as f64 / total.max(1) as f64;
    let seconds = |time: Option<u64>| time.map_or(-1, |time| time as i64);
    text.field("current_fork_perc", format_args!("{percent:.2}"));
    text.field("current_save_keys_processed", done);
    text.field("current_save_keys_total", total);
    text.field(
        "rdb_changes_since_last_save",
        stats.sets.total(Total::Dirty),
    );
    text.field("rdb_bgsave_in_progress", u8::from(running));
    let last_save_s = crate::runtime::save::last_save_s(server);
    text.field("rdb_last_save_time", last_save_s);
    text.field("rdb_last_bgsave_status", status(saves.last_succeeded));
    text.field("rdb_last_bgsave_time_sec", seconds(saves.last_took_s));
    text.field("rdb_current_bgsave_time_sec", seconds(saves.running_s));
    text.field("rdb_saves", saves.saves);
    text.field("rdb_last_cow_size", 0);
    let (loaded, expired) = &server.saves.loaded;
    text.field("rdb_last_load_keys_expired", expired.load(Relaxed));
    text.field("rdb_last_load_keys_loaded", loaded.load(Relaxed));
    let keeps = server.storage().is_some() || server.begins_to_keep.load(Relaxed);
    text.field("aof_enabled", u8::from(keeps));
    let rewriting = super::super::save::is_rewriting(server);
    text.field("aof_rewrite_in_progress", u8::from(rewriting));
    text.field("aof_rewrite_scheduled", 0);
    text.field("aof_last_rewrite_time_sec", -1);
    text.field("aof_current_rewrite_time_sec", -1);
    let rewritten = tree_ok && !crate::runtime::keeping::is_failing();
    text.field("aof_last_bgrewrite_status", status(rewritten));
    text.field("aof_rewrites", server.saves.rewrites.0.load(Relaxed));
    text.field("aof_rewrites_consecutive_failures", 0);
    text.field("aof_last_write_status", status(log_ok));
    text.field("aof_last_cow_size", 0);
    text.field("module_fork_in_progress", 0);
    text.field("module_fork_last_cow_size", 0);
    text.field("slot_migration_fork_in_progress", 0);
    text.field("warming_slots", server.keyspace.cold_slot_count());
    if let Some(storage) = server.storage() {
        super::storage::fields(server, storage, text);
    }
}

pub fn keyspace(server: &Server, text: &mut Text) {
    for db in 0..server.keyspace.databases() {
        let keys = crate::cluster::migration::visible_keys(server, db);
        if keys != 0 {
            let expires = server.keyspace.expires_count(db).min(keys);
            text.field(
                &format!("db{db}"),
                format_args!("keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items=0"),
            );
        }
    }
}

/// How many channels, patterns and shard channels have listeners.
pub fn subscriptions(server: &Server) -> [usize; 3] {
    [Kind::Channel, Kind::Pattern, Kind::Shard].map(|kind| server.pubsub.len(kind))
}
