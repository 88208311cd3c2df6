//! The tree's writer: one thread that now and then takes over the changed keys
//! as of one offset of the log, in one transaction (I4), and then lets the log
//! be trimmed (I5).
//!
//! When: soon after the writes stop, so that the log's tail is short at a
//! restart; under steady writes with a pause that is a multiple of the last
//! checkpoint's duration, so that the tree never takes more than a small share
//! of a core; at once when the log's tail passes a limit.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redoubt_persistence::log::Offset;
use redoubt_persistence::tree::Meta;

use super::recovery::{LIBRARIES, encode_map};
use crate::keyspace::checkpoint::Rows;
use crate::keyspace::stripe::STRIPES;
use crate::state::{Server, Storage};

/// How often the need for a checkpoint is looked at.
const TICK: Duration = Duration::from_millis(100);
/// A pause after a checkpoint lasts this many times the checkpoint.
const PAUSE_FACTOR: u32 = 6;
/// No more than this long, whatever the checkpoint took.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// At least this much log is worth a checkpoint under steady writes.
const WORTHWHILE_BYTES: u64 = 16 << 20;
/// Beyond this much log there is no pause.
const URGENT_BYTES: u64 = 4 << 30;
/// How long a checkpoint's beginning may hold up commands.
const PATIENCE: Duration = Duration::from_millis(2);

/// Asks the checkpoint thread to end, after a last checkpoint if wanted.
#[derive(Default)]
pub struct Control {
    state: Mutex<(bool, bool)>,
    bell: Condvar,
}

impl Control {
    /// Ends the thread; with `last` it makes a last checkpoint.
    pub fn stop(&self, last: bool) {
        *self.state.lock() = (true, last);
        self.bell.notify_all();
    }

    fn wait(&self, time: Duration) -> (bool, bool) {
        let mut state = self.state.lock();
        if !state.0 {
            self.bell.wait_for(&mut state, time);
        }
        *state
    }
}

/// The thread's body.
pub fn run(server: &'static Server, control: &Control) {
    let Some(storage) = &server.storage else {
        return;
    };
    let mut next = Instant::now();
    let mut last_end = storage.log.end();
    loop {
        let (stop, last) = control.wait(TICK);
        if stop {
            if last {
                attempt(server, storage, Duration::from_secs(10));
            }
            return;
        }
        let end = storage.log.end();
        let tail = end.0 - server.applied.load(Ordering::Relaxed);
        let idle = end == last_end;
        last_end = end;
        if tail == 0 || storage.log.failure().is_some() || storage.failed_checkpoint.get().is_some()
        {
            continue;
        }
        let due = idle || (tail >= WORTHWHILE_BYTES && Instant::now() >= next);
        if !due && tail < URGENT_BYTES {
            continue;
        }
        let began = Instant::now();
        if attempt(server, storage, PATIENCE) {
            next = Instant::now() + (began.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE);
        }
    }
}

fn attempt(server: &'static Server, storage: &Storage, patience: Duration) -> bool {
    match checkpoint(server, storage, patience) {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(
                "the tree could not take over the log's changes: {error}. Writes are refused from now on; nothing acknowledged is lost: it is in the log, and a restart takes it over"
            );
            let _ = storage.failed_checkpoint.set(error);
            false
        }
    }
}

/// One checkpoint; false when the locks could not be had in time.
fn checkpoint(
    server: &'static Server,
    storage: &Storage,
    patience: Duration,
) -> Result<bool, String> {
    let cut = server.keyspace.begin_checkpoint(patience, || {
        let libraries = server.scripting.libraries.read().clone();
        (storage.log.position(), libraries)
    });
    let Some((frozen, ((offset, selected_db), libraries))) = cut else {
        return Ok(false);
    };
    let mut meta = Meta {
        offset: offset.0,
        term: storage.log.term().0,
        selected_db,
        replication_id: server.replication_id.lock().clone(),
        ..Meta::default()
    };
    // Retired databases leave the tree with this transaction.
    let mut map = frozen.map.clone();
    let retired = std::mem::take(&mut map.retired);
    meta.extra.push(encode_map(&map));
    meta.extra.push((LIBRARIES.to_string(), libraries.encode()));
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut batch = storage.tree.begin().map_err(|e| text(&e))?;
    let mut physical: Vec<u32> = frozen.map.physical.clone();
    physical.sort_unstable();
    let mut rows = Rows::default();
    for db in physical {
        for stripe in 0..STRIPES {
            server.keyspace.collect(&frozen, db, stripe, &mut rows);
            for row in rows.iter() {
                match row.payload {
                    Some(payload) => {
                        batch
                            .put(db, row.slot, row.key, row.expire_at_ms, payload)
                            .map_err(|e| text(&e))?;
                    }
                    None => {
                        batch.delete(db, row.slot, row.key).map_err(|e| text(&e))?;
                    }
                }
            }
        }
    }
    for &db in &retired {
        batch.clear_db(db).map_err(|e| text(&e))?;
    }
    // The tree must never be ahead of the log on disk.
    storage.log.sync_to(offset).map_err(|e| text(&e))?;
    batch.commit(&meta).map_err(|e| text(&e))?;
    server.keyspace.finish_checkpoint(&frozen);
    server.applied.store(offset.0, Ordering::Relaxed);
    storage
        .log
        .trim_below(Offset(offset.0.saturating_sub(retention_bytes(server))));
    Ok(true)
}

/// How much log is kept behind the tree for replicas: `repl-backlog-size`.
fn retention_bytes(server: &Server) -> u64 {
    server
        .config
        .read()
        .integer(crate::config::id("repl-backlog-size"))
        .max(0) as u64
}
