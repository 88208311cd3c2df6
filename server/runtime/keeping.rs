//! A pure cache that begins to keep what it has: CONFIG SET appendonly yes.
//!
//! Log and tree are begun beside the data directory, as those for replication
//! are, if there are none yet. Once a checkpoint has taken everything into the
//! tree and the log is synced, both move to their usual places, and count from
//! then on. The tree goes first: without a log, a start takes it as it is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redoubt_persistence::disk::{DirectoryLock, Disk, RealDisk};

use super::recovery::{log_directory, sync_policy};
use super::replication::{self, scratch};
use super::{save, start, watch};
use crate::replication::identity::{FILE, TREE};
use crate::state::{Server, Storage};

/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// How often the end of an attempt is looked for at a shutdown.
const LOOK: Duration = Duration::from_millis(10);

/// The data directory, once it was claimed.
static PLACE: Mutex<Option<Place>> = Mutex::new(None);
/// The server is being shut down.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// The last attempt has failed.
static FAILED: AtomicBool = AtomicBool::new(false);

struct Place {
    dir: PathBuf,
    _lock: DirectoryLock,
}

/// Takes the working directory for this server's log and tree. It may have
/// none, since nobody has asked for what is in them to be given up.
pub fn claim(server: &Server) -> Result<(), String> {
    let mut place = PLACE.lock();
    if place.is_some() || server.storage().is_some() {
        return Ok(());
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let dir = std::env::current_dir().map_err(|e| text(&e))?;
    let lock = DirectoryLock::acquire(&dir).map_err(|e| text(&e))?;
    let ours = [dir.join(TREE), log_directory(&dir), dir.join(FILE)];
    if let Some(former) = ours.iter().find(|path| path.exists()) {
        return Err(format!(
            "{} is of a former run: move it away, or start the server with it",
            former.display()
        ));
    }
    let device = |path: &Path| path.metadata().map(|data| data.dev()).map_err(|e| text(&e));
    if server.any_storage().is_some() && device(&scratch::directory())? != device(&dir)? {
        return Err(format!(
            "{} is on another file system than what replication keeps in {}",
            dir.display(),
            scratch::directory().display()
        ));
    }
    if server.any_storage().is_none() {
        scratch::look_for_room(server)?;
    }
    *place = Some(Place { dir, _lock: lock });
    Ok(())
}

/// Begins to keep what there is, in the background.
pub fn begin(server: &'static Server) -> Result<(), String> {
    claim(server)?;
    let _place = PLACE.lock();
    if server.storage().is_some() || server.begins_to_keep.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("keeping".into());
    let spawned = thread.spawn(move || run(server));
    spawned.map(|_| ()).map_err(|error| {
        server.begins_to_keep.store(false, Ordering::Release);
        error.to_string()
    })
}

fn run(server: &'static Server) {
    while let Err(error) = attempt(server) {
        tracing::error!("log and tree can't be begun: {error}; it is tried again every second");
        FAILED.store(true, Ordering::Release);
        std::thread::sleep(RETRY);
        if give_up(server) {
            break;
        }
    }
    FAILED.store(false, Ordering::Release);
}

/// Ends the attempts if that is wanted.
fn give_up(server: &Server) -> bool {
    let mut place = PLACE.lock();
    let off = server.settings.append_only_off.load(Ordering::Relaxed);
    if off {
        *place = None;
        server.begins_to_keep.store(false, Ordering::Release);
    }
    off
}

/// Whether the last attempt has failed, and it goes on.
pub fn is_failing() -> bool {
    FAILED.load(Ordering::Acquire)
}

/// Keeps everything from its end on, unless that is not wanted any more.
fn attempt(server: &'static Server) -> Result<(), String> {
    let storage = replication::storage(server)?;
    if !storage.is_whole() {
        save::wait_for_checkpoint(server, storage)?;
    }
    // No checkpoint is under way, and no full sync puts in another tree.
    let _turn = storage.take_turn();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    storage.log.set_policy(sync_policy(&server.config.read()));
    let mut place = PLACE.lock();
    let off = server.settings.append_only_off.load(Ordering::Relaxed);
    if off || CLOSED.load(Ordering::Acquire) {
        *place = None;
    }
    if let Some(Place { dir, .. }) = &*place {
        if storage.log.end().0 == 0 {
            // A directory with neither key nor log counts as new, and a start
            // imports the dump that lies there.
            replication::ping(server);
        }
        storage
            .log
            .sync_to(storage.log.end())
            .map_err(|e| text(&e))?;
        move_to(server, storage, dir)?;
        start::wake_on_sync(server, storage);
        storage.set_kept();
        watch::start(server, storage, dir).map_err(|e| text(&e))?;
        tracing::info!("Log and tree are kept in {}", dir.display());
    }
    server.begins_to_keep.store(false, Ordering::Release);
    drop(place);
    server.replication.log_bell.ring();
    Ok(())
}

/// Moves them into the data directory, with the state of replication. After an
/// error they are where they were.
fn move_to(server: &Server, storage: &Storage, dir: &Path) -> Result<(), String> {
    let replication = &server.replication;
    let mut identity = replication.identity();
    let (from, to) = (scratch::directory().join(&identity.tree), dir.join(TREE));
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
    std::fs::rename(&from, &to).map_err(|e| failed(&e))?;
    identity.tree = TREE.into();
    let moved = identity.save(dir).map_err(|e| failed(&e));
    let moved = moved.and_then(|()| {
        storage
            .log
            .move_to(&log_directory(dir))
            .map_err(|e| failed(&e))
    });
    if let Err(error) = moved {
        let _ = std::fs::remove_file(dir.join(FILE));
        std::fs::rename(&to, &from).map_err(|e| failed(&e))?;
        return Err(error);
    }
    RealDisk.sync_dir(dir).map_err(|e| failed(&e))?;
    let _ = replication.directory.set(dir.to_path_buf());
    // There is no way back from here. What has changed meanwhile is saved too.
    while let Err(error) = replication.change_identity(|own| own.tree = TREE.into()) {
        tracing::error!("can't write the replication state: {error}");
        if CLOSED.load(Ordering::Acquire) {
            return Err(failed(&error));
        }
        std::thread::sleep(RETRY);
    }
    scratch::remove();
    Ok(())
}

/// Nothing begins to be kept from now on. What is about to be is waited for, if
/// wanted and as long as nothing fails.
pub fn end(server: &Server, wait: bool) {
    let is_under_way = || server.begins_to_keep.load(Ordering::Acquire);
    while wait && is_under_way() && !FAILED.load(Ordering::Acquire) {
        std::thread::sleep(LOOK);
    }
    CLOSED.store(true, Ordering::Release);
    // An attempt may be about to end.
    drop(PLACE.lock());
}
