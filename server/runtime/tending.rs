//! What is done about clients from time to time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::connection::listing::idle_s;
use crate::connection::output::limit_of;
use crate::state::{Server, unix_ms};

/// A client that has been idle for so long gives back its buffers' room.
const IDLE_BUFFERS_S: i64 = 2;

/// What is done about clients once a second: those that were idle for longer
/// than `timeout` or have too much unsent output are closed, and idle ones
/// give back their buffers' room. MIGRATE's connections are clients elsewhere.
pub async fn tend(server: &'static Server) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        server.migrate_links.close_idle();
        let now_ms = unix_ms();
        let timeout_s = server.settings.timeout_s.load(Ordering::Relaxed);
        for client in server.clients.all() {
            let idle_s = idle_s(&client, now_ms);
            let held = client.is_subscriber()
                || client.monitor.load(Ordering::Relaxed)
                || client.is_peer()
                || client.is_blocked();
            if timeout_s > 0 && idle_s > timeout_s && !held {
                tracing::debug!(client = client.id, "closing an idle client");
                client.kill();
            }
            if client.output_bytes() != 0 {
                client.enforce(limit_of(server, &client));
            }
            if (IDLE_BUFFERS_S..2 * IDLE_BUFFERS_S).contains(&idle_s) {
                client.idle_buffers.store(true, Ordering::Relaxed);
                client.bell.ring();
            }
        }
    }
}
