//! The fields of INFO persistence that are ours: log, tree, and their health.

use std::sync::atomic::Ordering::Relaxed;

use super::Text;
use crate::state::{Server, Storage};

/// Everything about log and tree.
pub fn fields(server: &Server, storage: &Storage, text: &mut Text) {
    let log = storage.log.stats();
    text.field("log_end_offset", storage.log.end().0);
    text.field("log_written_offset", storage.log.written().0);
    text.field("log_synced_offset", storage.log.synced().0);
    text.field("log_oldest_offset", storage.log.oldest().0);
    text.field("log_unsynced_bytes", {
        let (end, synced) = (storage.log.end().0, storage.log.synced().0);
        end.saturating_sub(synced)
    });
    text.field("log_segments", log.segments);
    let next_ready = u8::from(storage.log.is_next_ready());
    text.field("log_next_segment_ready", next_ready);
    text.field("log_disk_bytes", log.disk_bytes);
    text.field("log_writes", log.writes);
    text.field("log_syncs", log.syncs);
    text.field("log_last_sync_usec", log.last_sync_us);
    text.field("log_max_sync_usec", log.max_sync_us);
    text.field("log_mean_sync_usec", log.sync_us_total / log.syncs.max(1));
    text.field("tree_applied_offset", server.applied.load(Relaxed));
    text.field("tree_lag_bytes", server.tree_lag(storage));
    if let Ok(tree) = storage.tree.stats() {
        text.field("tree_rows", tree.short_rows + tree.long_rows);
        text.field("tree_used_bytes", tree.used_bytes);
        text.field("tree_file_bytes", tree.file_bytes);
    }
    let (spilled, stalled) = server.keyspace.spill_counts();
    let reads = &server.cold_reads;
    text.field("cold_values", server.keyspace.cold_values());
    text.field("values_spilled", spilled);
    text.field("cold_reads", reads.reads.load(Relaxed));
    text.field("cold_reads_in_worker", stalled);
    for percent in [50.0, 99.0, 99.9] {
        let wait_us = reads.waits.percentile_us(percent);
        text.field(
            &format!("cold_read_p{percent}_usec"),
            format_args!("{wait_us:.0}"),
        );
    }
    let health = &server.health;
    text.field("storage_status", health.name());
    text.field("storage_refusals", health.refusals.load(Relaxed));
    text.field("storage_slow_usec", health.slow_us.load(Relaxed));
    text.field("storage_slowed_usec_total", health.slowed_us.load(Relaxed));
    text.field("disk_free_bytes", health.disk_free.load(Relaxed));
    text.field("checkpoints", health.checkpoints.load(Relaxed));
    text.field(
        "checkpoints_failed",
        health.failed_checkpoints.load(Relaxed),
    );
    text.field(
        "last_checkpoint_msec",
        health.last_checkpoint_ms.load(Relaxed),
    );
    text.field(
        "last_checkpoint_rows",
        health.last_checkpoint_rows.load(Relaxed),
    );
    text.field(
        "last_checkpoint_bytes",
        health.last_checkpoint_bytes.load(Relaxed),
    );
    text.field("tree_written_bytes", health.tree_written.load(Relaxed));
    text.field("log_restarts", health.log_restarts.load(Relaxed));
}
