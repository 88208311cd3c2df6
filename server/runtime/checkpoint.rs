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

use super::recovery::encode_map;
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

/// What others ask of the checkpoint thread: to end, after a last checkpoint
/// if wanted, or to make one now.
#[derive(Default)]
pub struct Control {
    state: Mutex<(bool, bool)>,
    bell: Condvar,
    /// Checkpoints asked for, and made on request, by number.
    requests: Mutex<(u64, u64)>,
    made: Condvar,
}

impl Control {
    /// Ends the thread; with `last` it makes a last checkpoint.
    pub fn stop(&self, last: bool) {
        *self.state.lock() = (true, last);
        self.bell.notify_all();
    }

    /// Asks for a checkpoint that begins from now on, so that what follows it
    /// in the log selects its database anew. Gives a number to wait for.
    pub fn request(&self) -> u64 {
        let mut requests = self.requests.lock();
        requests.0 += 1;
        let number = requests.0;
        drop(requests);
        // Under the lock, so that the thread is not between look and wait.
        drop(self.state.lock());
        self.bell.notify_all();
        number
    }

    /// Waits for a while for the checkpoint of this number; whether it is made.
    pub fn wait_made(&self, number: u64, time: Duration) -> bool {
        let mut requests = self.requests.lock();
        if requests.1 < number {
            self.made.wait_for(&mut requests, time);
        }
        requests.1 >= number
    }

    fn requested(&self) -> Option<u64> {
        let requests = self.requests.lock();
        (requests.0 > requests.1).then_some(requests.0)
    }

    fn fulfil(&self, number: u64) {
        self.requests.lock().1 = number;
        self.made.notify_all();
    }

    fn wait(&self, time: Duration) -> (bool, bool) {
        let mut state = self.state.lock();
        if !state.0 && self.requested().is_none() {
            self.bell.wait_for(&mut state, time);
        }
        *state
    }
}

/// The thread's body.
pub fn run(server: &'static Server, storage: &'static Storage) {
    let control = &storage.checkpoints;
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
        if let Some(number) = control.requested() {
            if broken(storage) {
                std::thread::sleep(TICK);
            } else if attempt(server, storage, PATIENCE) {
                control.fulfil(number);
            }
            continue;
        }
        let end = storage.log.end();
        let tail = end.0 - server.applied.load(Ordering::Relaxed);
        let idle = end == last_end;
        last_end = end;
        if tail == 0 || broken(storage) {
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

fn broken(storage: &Storage) -> bool {
    storage.log.failure().is_some() || storage.failed_checkpoint.get().is_some()
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
    let _turn = storage.tree_turn.lock();
    // A replica's stream may not be added to; there the number is known.
    let fresh = storage.checkpoints.requested().is_some() && !server.replication.is_replica();
    let cut = server.keyspace.begin_checkpoint(patience, || {
        if fresh {
            storage.log.force_select_next();
        }
        storage.log.position()
    });
    let Some((frozen, (offset, selected_db))) = cut else {
        return Ok(false);
    };
    let mut meta = Meta {
        offset: offset.0,
        term: storage.log.term().0,
        selected_db,
        ..Meta::default()
    };
    // Retired databases leave the tree with this transaction.
    let mut map = frozen.map.clone();
    let retired = std::mem::take(&mut map.retired);
    meta.extra.push(encode_map(&map));
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let tree = storage.tree.get();
    let mut batch = tree.begin().map_err(|e| text(&e))?;
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
    server.replication.identity().stamp(&mut meta);
    batch.commit(&meta).map_err(|e| text(&e))?;
    server.keyspace.finish_checkpoint(&frozen);
    server.applied.store(offset.0, Ordering::Relaxed);
    let kept = offset.0.saturating_sub(retention_bytes(server));
    storage.log.trim_below(Offset(kept.min(storage.held_log())));
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
