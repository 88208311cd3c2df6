//! The tree's writer: one thread that now and then takes over the changed keys
//! as of one offset of the log, in one transaction (I4), and then lets the log
//! be trimmed (I5).
//!
//! When: see [`pace`](super::pace). With replicas, it waits for them before the
//! commit ([`unconfirmed`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use redoubt_cluster::replication::history::History;
use redoubt_persistence::checkpoint::{CheckpointError, begin_anew, commit, trim};
use redoubt_persistence::log::Offset;
use redoubt_persistence::tree::{Batch, Meta, TreeError};

use super::pace::{Pace, urgent_bytes};
use super::recovery::{LIBRARIES, encode_beginning, encode_hash_key, encode_map, encode_sent};
use super::thrift::Thrift;
use super::{retention, unconfirmed};
use crate::health::Trouble;
use crate::keyspace::checkpoint::{Frozen, Rows};
use crate::keyspace::stripe::STRIPES;
use crate::replication::new_id;
use crate::scripting::line::insist;
use crate::state::{Server, Storage};
use crate::stats::add;

/// How often the need for a checkpoint is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether the thread's end can still be waited for.
const STOP_LOOK: Duration = Duration::from_secs(1);
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
    /// How long the last checkpoint waited for replicas, in ms.
    waited_ms: AtomicU64,
    ended: Mutex<bool>,
    end_bell: Condvar,
}

impl Control {
    /// Ends the thread, and waits for that; with `last` it makes a last
    /// checkpoint. It may be waiting for a stripe that a script never gives back:
    /// `is_hopeless`, asked now and then, says so. What it was at then comes to
    /// nothing, as in a crash.
    pub fn stop(&self, last: bool, is_hopeless: impl Fn() -> bool) {
        *self.state.lock() = (true, last);
        self.bell.notify_all();
        let mut ended = self.ended.lock();
        while !*ended {
            let waited = self.end_bell.wait_for(&mut ended, STOP_LOOK);
            if waited.timed_out() && MutexGuard::unlocked(&mut ended, &is_hopeless) {
                tracing::warn!("A command does not end: the tree does not take over the rest");
                return;
            }
        }
    }

    /// Whether it was told to end.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().0
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

    /// Whether somebody waits for a checkpoint, or for the thread's end.
    fn is_pressed(&self) -> bool {
        self.state.lock().0 || self.requested().is_some()
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

/// Starts the thread.
pub fn start(server: &'static Server, storage: &'static Storage) -> std::io::Result<()> {
    let body = move || {
        run(server, storage);
        let control = &storage.checkpoints;
        *control.ended.lock() = true;
        control.end_bell.notify_all();
    };
    let thread = std::thread::Builder::new().name("tree-writer".into());
    thread.spawn(body).map(|_| ())
}

fn run(server: &'static Server, storage: &'static Storage) {
    let control = &storage.checkpoints;
    let mut pace = Pace::new(storage.log.end());
    let mut thrift = Thrift::new();
    loop {
        let (stop, last) = control.wait(TICK);
        crate::resident::collect_if_asked();
        let health = &server.health;
        if stop {
            if storage.log.failure().is_some() {
                mend(server, storage);
            } else if last {
                attempt(server, storage, Duration::from_secs(10));
            }
            return;
        }
        pace.look(storage.log.end());
        thrift.look(&pace, server, storage);
        if storage.log.failure().is_some() {
            if pace.has_waited() {
                mend(server, storage);
                pace.failed();
            } else if control.requested().is_some() {
                // Which `wait` does not wait for.
                std::thread::sleep(TICK);
            }
            continue;
        }
        if let Some(number) = control.requested() {
            let may_try = !health.has(Trouble::Tree) || pace.has_waited();
            if may_try && attempt(server, storage, PATIENCE) {
                control.fulfil(number);
            } else if may_try && health.has(Trouble::Tree) {
                pace.failed();
            } else {
                std::thread::sleep(if may_try { PATIENCE } else { TICK });
            }
            continue;
        }
        let tail = server.tree_lag(storage);
        let failed = health.has(Trouble::Tree);
        if (tail == 0 && !failed) || health.tree_paused.load(Ordering::Relaxed) {
            continue;
        }
        let wanted = health.checkpoint_wanted.swap(false, Ordering::Relaxed);
        let due = match failed {
            true => pace.has_waited(),
            false => wanted || pace.is_due(tail, urgent_bytes(server)),
        };
        if !due {
            continue;
        }
        let began = Instant::now();
        if attempt(server, storage, PATIENCE) {
            let waited_ms = control.waited_ms.load(Ordering::Relaxed);
            let took = began.elapsed();
            pace.made(took.saturating_sub(Duration::from_millis(waited_ms)));
        } else if health.has(Trouble::Tree) {
            pace.failed();
        }
    }
}

/// Makes a checkpoint; false when it has to be tried again.
fn attempt(server: &'static Server, storage: &Storage, patience: Duration) -> bool {
    let _turn = storage.tree_turn.take();
    // A replica's stream may not be added to; there the number is known.
    let fresh = storage.checkpoints.requested().is_some() && !server.replication.is_replica();
    let begin = || {
        server.keyspace.begin_checkpoint(patience, || {
            if fresh {
                storage.log.force_select_next();
            }
            (led_in(server), storage.log.position(), libraries(server))
        })
    };
    let cut = begin().or_else(|| insist(server, begin));
    cut.is_some_and(|(frozen, seen)| take_over(server, storage, &Cut::new(frozen, seen)))
}

/// After a failure of the log: everything goes to the tree from RAM, and the
/// log begins anew behind it (I6). It is another history then: what was
/// acknowledged is all there, but not byte for byte in a log.
fn mend(server: &'static Server, storage: &Storage) {
    let _turn = storage.tree_turn.take();
    storage.log.end_failed();
    let began = server
        .keyspace
        .begin_checkpoint(Duration::from_secs(1), || {
            let offset = storage.log.begin_anew();
            (led_in(server), (offset, 0), libraries(server))
        });
    let Some((frozen, seen)) = began else {
        return;
    };
    let mut cut = Cut::new(frozen, seen);
    let offset = cut.offset;
    let mended = begin_anew(&storage.log, offset, |first| {
        cut.beginning = Some(first);
        if let Err(error) = part(server, offset) {
            server.keyspace.undo_checkpoint(&cut.frozen);
            return Err(format!("can't write the replication state: {error}"));
        }
        match take_over(server, storage, &cut) {
            true => Ok(()),
            false => Err("the tree could not take everything over".into()),
        }
    });
    if let Err(error) = mended {
        tracing::error!("the log can't begin anew: {error}");
        add(&server.health.failed_mends, 1);
    } else {
        add(&server.health.log_restarts, 1);
        server.health.clear(Trouble::Log);
        tracing::warn!("Everything is stored, and a new log begins at offset {offset}");
    }
    server.durable.alarm();
}

/// Leaves the history that others have for one that begins at `offset`. That is
/// durable before the tree takes over what is in no log, so that a server which
/// starts with such a tree never goes on in the old one. Each attempt has its
/// own: the state at an offset may differ from that of the one before.
fn part(server: &Server, offset: Offset) -> std::io::Result<()> {
    let replication = &server.replication;
    // Neither those who are served nor those who come until it is done.
    replication.replicas.disconnect();
    replication.change_identity(|identity| {
        identity.history = History::new(new_id());
        identity.begin = offset.0;
    })?;
    replication.replicas.disconnect();
    replication.link.cut();
    Ok(())
}

/// A moment whose state the tree is to take over.
struct Cut {
    frozen: Frozen,
    offset: Offset,
    selected_db: u32,
    /// The libraries of functions.
    libraries: Vec<u8>,
    /// The first segment of a log that is to begin anew here.
    beginning: Option<u64>,
    /// If it is a primary's: the generation of the role.
    led_in: Option<u64>,
}

impl Cut {
    /// What was frozen when this was to be seen: the generation of the role, the
    /// log's end with the database selected there, and the libraries.
    fn new(
        frozen: Frozen,
        (led_in, (offset, selected_db), libraries): (Option<u64>, (Offset, u32), Vec<u8>),
    ) -> Cut {
        Cut {
            frozen,
            offset,
            selected_db,
            libraries,
            beginning: None,
            led_in,
        }
    }
}

/// The generation of the role, if it is a primary's.
fn led_in(server: &Server) -> Option<u64> {
    let replication = &server.replication;
    (!replication.is_replica()).then(|| replication.generation())
}

/// The libraries of functions, encoded; they change under all stripes only.
fn libraries(server: &Server) -> Vec<u8> {
    server.scripting.libraries.read().encode()
}

/// Has the tree take over the state as of `cut`, all of it or nothing; whether
/// it did.
fn take_over(server: &'static Server, storage: &Storage, cut: &Cut) -> bool {
    let (began, health) = (Instant::now(), &server.health);
    match write(server, storage, cut) {
        Ok(None) => {
            server.keyspace.undo_checkpoint(&cut.frozen);
            false
        }
        Ok(Some((rows, bytes))) => {
            server.keyspace.finish_checkpoint(&cut.frozen);
            server.applied.store(cut.offset.0, Ordering::Relaxed);
            let waited_ms = storage.checkpoints.waited_ms.load(Ordering::Relaxed);
            let took_ms = (began.elapsed().as_millis() as u64).saturating_sub(waited_ms);
            health.last_checkpoint_ms.store(took_ms, Ordering::Relaxed);
            health.last_checkpoint_rows.store(rows, Ordering::Relaxed);
            health.last_checkpoint_bytes.store(bytes, Ordering::Relaxed);
            add(&health.tree_written, bytes);
            add(&health.checkpoints, 1);
            health.clear(Trouble::Tree);
            storage.set_whole();
            let settled = cut
                .led_in
                .map(|led_in| server.replication.end_astray(led_in));
            if let Some(Err(error)) = settled {
                tracing::error!("can't write the replication state: {error}");
            }
            let held = cut.offset.0.saturating_sub(storage.held_log());
            let kept = cut.offset.0.saturating_sub(storage.log.oldest().0);
            let wanted = retention::bytes(server, kept);
            trim(&storage.log, cut.offset, wanted.max(held));
            true
        }
        Err(error) => {
            server.keyspace.undo_checkpoint(&cut.frozen);
            add(&health.failed_checkpoints, 1);
            let remedy = match storage.tree.failure() {
                Some(_) => {
                    "nothing acknowledged is lost: it is in the log, and a restart takes it over"
                }
                None => "it is tried again every second",
            };
            // LMDB calls a write that was cut short for want of space an
            // input/output error.
            let free = health.disk_free.load(Ordering::Relaxed);
            let reason = format!(
                "the tree could not take over the log's changes: {error} ({free} bytes are free on the disk); {remedy}"
            );
            health.set(Trouble::Tree, reason);
            false
        }
    }
}

/// A checkpoint at once, where no thread makes any yet.
pub fn now(server: &'static Server) -> Result<(), String> {
    let Some(storage) = server.storage() else {
        return Ok(());
    };
    // It waits for nobody.
    let number = storage.checkpoints.request();
    let made = attempt(server, storage, Duration::from_secs(10));
    storage.checkpoints.fulfil(number);
    match made {
        true => Ok(()),
        false => Err("the tree does not take it".into()),
    }
}

/// A checkpoint within the replay of the log, which has come to `offset`, where
/// `selected_db` is selected. False if it could not be made.
pub fn in_replay(server: &'static Server, offset: Offset, selected_db: u32) -> bool {
    let Some(storage) = server.storage() else {
        return false;
    };
    let _turn = storage.tree_turn.take();
    let seen = || (None, (offset, selected_db), libraries(server));
    let cut = (server.keyspace).begin_checkpoint(Duration::from_secs(10), seen);
    cut.is_some_and(|(frozen, seen)| take_over(server, storage, &Cut::new(frozen, seen)))
}

/// Waits with the commit for replicas, if that is to be done; whether to go on.
fn await_replicas(server: &Server, storage: &Storage, cut: &Cut) -> bool {
    let (control, began) = (&storage.checkpoints, Instant::now());
    let go_on = cut.beginning.is_some()
        || unconfirmed::wait(server, storage, cut.offset, || control.is_pressed());
    let waited_ms = began.elapsed().as_millis() as u64;
    control.waited_ms.store(waited_ms, Ordering::Relaxed);
    go_on
}

/// The transaction of a checkpoint; gives the number of its rows, and of their
/// bytes that had to be written. None if it was given up.
fn write(
    server: &'static Server,
    storage: &Storage,
    cut: &Cut,
) -> Result<Option<(u64, u64)>, String> {
    let mut meta = Meta {
        offset: cut.offset.0,
        term: storage.log.term().0,
        selected_db: cut.selected_db,
        ..Meta::default()
    };
    // Retired databases leave the tree with this transaction.
    let mut map = cut.frozen.map.clone();
    let retired = std::mem::take(&mut map.retired);
    meta.extra.push(encode_map(&map));
    meta.extra.push(encode_hash_key());
    meta.extra
        .push((LIBRARIES.to_string(), cut.libraries.clone()));
    meta.extra.extend(cut.beginning.map(encode_beginning));
    meta.extra.extend(storage.is_sent().then(encode_sent));
    server.replication.identity().stamp(&mut meta);
    let tree = storage.tree.get();
    let mut batch = tree.begin().map_err(|e| e.to_string())?;
    let mut physical: Vec<u32> = cut.frozen.map.physical.clone();
    physical.sort_unstable();
    let mut rows = Rows::default();
    let mut written = 0;
    for db in physical {
        for stripe in 0..STRIPES {
            let put = &mut |rows: &Rows| {
                written += put_rows(&mut batch, db, rows)?;
                Ok::<(), TreeError>(())
            };
            let collected = (server.keyspace).collect(&cut.frozen, db, stripe, &mut rows, put);
            collected.map_err(|e| e.to_string())?;
        }
    }
    for &db in &retired {
        batch.clear_db(db).map_err(|e| e.to_string())?;
    }
    let bytes = batch.bytes_put();
    if !await_replicas(server, storage, cut) {
        return Ok(None);
    }
    let committed = match cut.beginning {
        Some(_) => batch.commit(&meta).map_err(CheckpointError::Tree),
        None => commit(&storage.log, cut.offset, || batch.commit(&meta)),
    };
    committed.map_err(|e| e.to_string())?;
    Ok(Some((written, bytes)))
}

fn put_rows(batch: &mut Batch<'_>, db: u32, rows: &Rows) -> Result<u64, TreeError> {
    let mut written = 0;
    for row in rows.iter() {
        row.put(batch, db)?;
        written += 1;
    }
    Ok(written)
}
