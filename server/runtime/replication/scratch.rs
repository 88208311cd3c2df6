//! Log and tree of a pure cache that takes part in replication: the stream has
//! to lie somewhere, and a snapshot too. They are made when they are needed
//! first, are never synced on purpose, and are removed at the end. What they
//! hold is not read at a start, unless they move to where it is looked for
//! ([`crate::runtime::keeping`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use redoubt_persistence::disk::{DirectoryLock, FaultyDisk};
use redoubt_persistence::log::{Log, LogOptions, Offset, SyncPolicy};
use redoubt_persistence::tree::{Tree, TreeOptions};

use crate::memory::used_bytes;
use crate::replication::identity::{TREE, remove_dir};
use crate::runtime::checkpoint;
use crate::runtime::recovery::LOG;
use crate::runtime::watch::free_bytes;
use crate::state::{Server, Storage};

/// What the directories' names begin with.
const PREFIX: &str = "replication.scratch.";
/// So many servers may have one in the same place.
const MOST: usize = 64;
/// How long a command may hold up the beginning.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The directory, once there is one, with its lock.
static DIRECTORY: Mutex<Option<(PathBuf, DirectoryLock)>> = Mutex::new(None);

/// Makes them, unless they are there.
pub fn enable(server: &'static Server) -> Result<&'static Storage, String> {
    let mut directory = DIRECTORY.lock();
    if let Some(storage) = server.any_storage() {
        return Ok(storage);
    }
    look_for_room(server)?;
    let (dir, lock) = claim(Path::new("."))?;
    let text = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
    let tree = Tree::open(&dir.join(TREE), TreeOptions::default()).map_err(|e| text(&e))?;
    let options = LogOptions {
        policy: SyncPolicy::No,
        ..LogOptions::default()
    };
    let disk = FaultyDisk::default();
    let faults = disk.switch();
    let (log, _) =
        Log::open(Arc::new(disk), &dir.join(LOG), Offset(0), options).map_err(|e| text(&e))?;
    log.on_synced(Box::new(|_| server.replication.log_bell.ring()));
    let storage = Storage::scratch(log, tree, faults);
    // A snapshot may be keeping track of changes for itself.
    let _turn = server.saves.tracking_turn.lock();
    let held = server.keyspace.try_lock_all(PATIENCE);
    let mut held = held.ok_or("a command runs for an hour already")?;
    let tree = storage.tree.get();
    server.keyspace.track_everything(&mut held, tree);
    let storage = server.any_storage.get_or_init(|| storage);
    drop(held);
    checkpoint::start(server, storage).map_err(|e| text(&e))?;
    tracing::info!("Replication keeps log and tree in {}", dir.display());
    *directory = Some((dir, lock));
    Ok(storage)
}

/// Whether the disk can have room for log and tree; an error tells how much they
/// take. To find out later is worse: by then every write depends on the disk.
pub fn look_for_room(server: &Server) -> Result<(), String> {
    let Some(free) = free_bytes(Path::new(".")) else {
        return Ok(());
    };
    let startup = server.stats.startup_memory.load(Ordering::Relaxed);
    // Small keys take less in a tree's pages than in memory, large ones more.
    let tree = used_bytes().saturating_sub(startup) / 2;
    let needed = tree + LogOptions::default().segment_bytes;
    match free < needed {
        true => Err(format!(
            "log and tree need {needed} bytes of disk at least, and {free} are free"
        )),
        false => Ok(()),
    }
}

/// A fresh directory that nobody else uses.
fn claim(parent: &Path) -> Result<(PathBuf, DirectoryLock), String> {
    let mut last = String::new();
    for number in 0..MOST {
        let dir = parent.join(format!("{PREFIX}{number}"));
        match DirectoryLock::acquire(&dir) {
            Ok(lock) => {
                for part in [TREE, LOG] {
                    remove_dir(&dir.join(part)).map_err(|e| e.to_string())?;
                }
                let dir = std::path::absolute(&dir).map_err(|e| e.to_string())?;
                return Ok((dir, lock));
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Removes from the working directory what servers that crashed have left.
pub fn remove_leftovers() {
    for number in 0..MOST {
        let dir = PathBuf::from(format!("{PREFIX}{number}"));
        if !dir.is_dir() {
            continue;
        }
        // One that is in use is locked.
        if let Ok(_lock) = DirectoryLock::acquire(&dir)
            && let Err(error) = remove_dir(&dir)
        {
            tracing::warn!("can't remove {}: {error}", dir.display());
        }
    }
}

/// The directory, when there is one.
pub fn directory() -> PathBuf {
    let directory = DIRECTORY.lock();
    directory
        .as_ref()
        .map_or_else(|| PathBuf::from("."), |(dir, _)| dir.clone())
}

/// Removes what is in it, at the end or once log and tree are elsewhere.
pub fn remove() {
    if let Some((dir, _lock)) = DIRECTORY.lock().take()
        && let Err(error) = remove_dir(&dir)
    {
        tracing::warn!("can't remove {}: {error}", dir.display());
    }
}
