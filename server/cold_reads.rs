//! Reading values that are in the tree only, away from the workers: a few
//! threads read, the connection that asked waits, others don't.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::commands::command::{Command, Locks};
use crate::commands::keys::each_key;
use crate::connection::session::Session;
use crate::eviction::make_room_for_returned;
use crate::keyspace::KeyRef;
use crate::keyspace::db::{Db, read_value};
use crate::keyspace::stripe::StripeSet;
use crate::state::Server;
use crate::stats::{Histogram, add};

/// Threads that read: as many reads as a disk may have under way for us.
const READERS: usize = 4;
/// A reader without work looks so often whether it is to give memory back.
const IDLE: Duration = Duration::from_millis(50);
/// Attempts to bring a value back while commits come in between.
const ATTEMPTS: usize = 3;
/// After so many waits in a row for one command it reads for itself, lest what
/// it waits for leave again each time.
const PATIENCE: u32 = 3;

/// Keys whose values are to be read, and who waits for them.
struct Job {
    server: &'static Server,
    db: u32,
    keys: Vec<Vec<u8>>,
    done: oneshot::Sender<()>,
    asked: Instant,
}

/// Figures of the reads.
#[derive(Default)]
pub struct ColdReads {
    /// To the readers, once there are any.
    readers: Mutex<Option<Sender<Job>>>,
    /// How long those who asked waited.
    pub waits: Histogram,
    /// Values that were brought back by a reader.
    pub reads: std::sync::atomic::AtomicU64,
}

/// What a command waits for; None if it can run. `session` holds no lock.
pub fn wanted(
    server: &'static Server,
    session: &mut Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Option<oneshot::Receiver<()>> {
    let mut keys = Vec::new();
    if command.name == "exec" {
        for queued in session.transaction.iter().flat_map(|open| &open.queued) {
            let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
            add_cold_keys(server, session.db, queued.command, &args, &mut keys);
        }
    } else if session.transaction.is_none() {
        add_cold_keys(server, session.db, command, args, &mut keys);
    }
    if keys.is_empty() || session.cold_waits >= PATIENCE {
        session.cold_waits = 0;
        return None;
    }
    session.cold_waits += 1;
    let (done, waiting) = oneshot::channel();
    let job = Job {
        server,
        db: session.db,
        keys,
        done,
        asked: Instant::now(),
    };
    let mut readers = server.cold_reads.readers.lock();
    if readers.is_none() {
        *readers = start();
    }
    // Without any, the command reads for itself.
    readers.as_ref()?.send(job).ok()?;
    Some(waiting)
}

/// The commands that need no value of their keys.
fn needs_no_value(command: &Command, args: &[&[u8]]) -> bool {
    match command.name {
        "set" => args.len() == 3,
        "del" | "unlink" | "exists" | "type" | "ttl" | "pttl" | "expiretime" | "pexpiretime" => {
            true
        }
        _ => false,
    }
}

fn add_cold_keys(
    server: &'static Server,
    index: u32,
    command: &'static Command,
    args: &[&[u8]],
    keys: &mut Vec<Vec<u8>>,
) {
    if command.locks != Locks::Keys || needs_no_value(command, args) {
        return;
    }
    each_key(command, args, |at, _| {
        let key = args[at];
        let stripe = StripeSet::one(KeyRef::new(key).stripe());
        if Db::open(&server.keyspace, stripe, index, 0).is_cold_value(key) {
            keys.push(key.to_vec());
        }
    });
}

/// Starts the readers; None if there can be none for now.
fn start() -> Option<Sender<Job>> {
    let (sender, receiver) = channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    let mut started = 0;
    for _ in 0..READERS {
        let receiver = receiver.clone();
        let thread = std::thread::Builder::new().name("cold-read".into());
        let spawned = thread.spawn(move || {
            loop {
                let job = receiver.lock().recv_timeout(IDLE);
                match job {
                    Ok(job) => read(job),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                crate::resident::collect_if_asked();
            }
        });
        match spawned {
            Ok(_) => started += 1,
            Err(error) => {
                tracing::warn!("no thread to read values: {error}");
                break;
            }
        }
    }
    (started != 0).then_some(sender)
}

fn read(job: Job) {
    for key in &job.keys {
        bring_back(job.server, job.db, key);
    }
    let nanos = job.asked.elapsed().as_nanos() as u64;
    job.server.cold_reads.waits.record(nanos);
    let _ = job.done.send(());
}

/// Reads without a lock, and puts the value in place unless a commit came in
/// between: it could be of a newer one then. What fails here fails again, and
/// is told, when the command reads for itself.
fn bring_back(server: &'static Server, index: u32, key: &[u8]) {
    let Some(storage) = server.storage() else {
        return;
    };
    let key = KeyRef::new(key);
    let stripe = StripeSet::one(key.stripe());
    for _ in 0..ATTEMPTS {
        let physical = server.keyspace.physical(index);
        let tree = storage.tree.get();
        let Ok((value, commit)) = read_value(&tree, physical, &key) else {
            return;
        };
        let mut db = Db::open(&server.keyspace, stripe, index, 0);
        db.access = Some(server.settings.stamp(crate::state::unix_ms()));
        let same_tree = Arc::ptr_eq(&tree, &storage.tree.get());
        if db.physical() == physical && same_tree && tree.commit_seq() == commit {
            db.bring_back(key.bytes, value);
            drop(db);
            add(&server.cold_reads.reads, 1);
            make_room_for_returned(server, index, key.stripe());
            return;
        }
    }
}
