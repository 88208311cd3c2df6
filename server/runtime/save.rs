//! Snapshot files: SAVE, BGSAVE and `save` points. A file is written from a
//! snapshot of the tree while commands go on, on a thread of its own (SAVE: on
//! that of its caller); nothing forks, and no key is held up. It appears under
//! its name whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redoubt_cluster::replication::history::Position;
use redoubt_persistence::disk::{Disk, RealDisk};
use redoubt_persistence::log::UNKNOWN_DB;
use redoubt_persistence::rdb::Limits;
use redoubt_persistence::rdb::file::{
    Database, FileWriter, SnapshotError, WriteOptions, write_snapshot,
};
use redoubt_persistence::rdb::primitive::Reader;
use redoubt_persistence::tree::{Meta, Snapshot};

use super::cache_tree::CacheTree;
use super::recovery::{LIBRARIES, decode_map};
use super::replication::scratch;
use crate::config::{Value, id};
use crate::health::Trouble;
use crate::replication::identity::Identity;
use crate::state::{Server, Storage, unix_ms};
use crate::stats::Total;

/// How often `save` points are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often it is looked whether a checkpoint is still worth waiting for.
const CHECKPOINT_TICK: Duration = Duration::from_millis(100);
/// After a failed snapshot, `save` points wait so long.
const RETRY: Duration = Duration::from_secs(5);
/// Bytes after which the file is synced on the way, so that its end is not a
/// long wait for the disk, to others as well.
const SYNC_BYTES: usize = 16 << 20;
/// The niceness of the thread: commands come first.
const NICENESS: i32 = 10;

/// The body of the thread that makes snapshots in the background.
pub fn run(server: &'static Server) {
    yield_to_workers();
    while let Some(requested) = server.saves.next_request(TICK) {
        if requested {
            let _ = finish(server, write(server));
        } else if is_save_point(server) && server.saves.request().is_ok() {
            tracing::info!("a save point is reached; a snapshot begins");
        }
    }
}

/// Lets threads that serve commands go before this one.
fn yield_to_workers() {
    // SAFETY: the call takes plain numbers; on Linux, 0 is the calling thread.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}

/// Writes a snapshot on this thread. [`crate::saves::Saves::begin`] was called.
pub fn save(server: &'static Server) -> Result<(), String> {
    finish(server, write(server))
}

/// Whether the data would be lost with the process: `save` points were set, and
/// there is no log.
pub fn is_due_at_the_end(server: &Server) -> bool {
    let config = server.config.read();
    let points = matches!(config.value(id("save")), Value::Save(points) if !points.is_empty());
    points && server.storage().is_none()
}

/// A snapshot in place of one that is under way.
pub fn last(server: &'static Server) -> Result<(), String> {
    while server.saves.begin().is_err() {
        server.saves.cancel();
        std::thread::sleep(Duration::from_millis(5));
    }
    save(server)
}

fn finish(server: &Server, result: Result<(), String>) -> Result<(), String> {
    server.saves.end(result.is_ok());
    if let Err(error) = &result {
        tracing::warn!("no snapshot was written: {error}");
    }
    result
}

/// Whether one of the `save` points is reached. Those of the default
/// configuration stand for the log and the tree, which keep everything: only
/// points that somebody has set ask for a file.
fn is_save_point(server: &Server) -> bool {
    let changes = server.stats.sets.total(Total::Dirty);
    if changes == 0 || server.loading.load(Ordering::Relaxed) {
        return false;
    }
    let config = server.config.read();
    if config.is_default(id("save")) {
        return false;
    }
    let Value::Save(points) = config.value(id("save")) else {
        return false;
    };
    let age_s = unix_ms() / 1000 - last_save_s(server);
    let reached =
        |&(seconds, least): &(i64, i64)| least.max(1) as u64 <= changes && age_s > seconds.max(0);
    let may_try = server.saves.failed_since().is_none_or(|time| time > RETRY);
    may_try && points.iter().any(reached)
}

/// When the last snapshot ended, or the server started; Unix seconds.
pub fn last_save_s(server: &Server) -> i64 {
    match server.stats.last_save_s.load(Ordering::Relaxed) {
        0 => server.started_ms / 1000,
        at_s => at_s as i64,
    }
}

/// Where the snapshot file is, or would be.
pub fn file_path(server: &Server) -> PathBuf {
    PathBuf::from(server.config.read().string(id("dbfilename")).into_owned())
}

fn write(server: &'static Server) -> Result<(), String> {
    let began = Instant::now();
    let changes = server.stats.sets.total(Total::Dirty);
    let path = file_path(server);
    let dataset = Dataset::take(server)?;
    let temporary = temporary_name("rdb");
    let mut written = write_file(server, &dataset, &temporary);
    if written.as_ref().is_err_and(is_of_fields) {
        // The first of them was in the tree only until now.
        server.keyspace.note_field_expiries();
        written = write_file(server, &dataset, &temporary);
    }
    let written = written.and_then(|figures| {
        fs::rename(&temporary, &path)?;
        RealDisk.sync_dir(&std::env::current_dir()?)?;
        Ok(figures)
    });
    let (keys, bytes) = written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        match error.kind() {
            io::ErrorKind::Interrupted => "it was cancelled".to_string(),
            _ => format!("{}: {error}", path.display()),
        }
    })?;
    server.stats.sets.take(Total::Dirty, changes);
    let now_s = (unix_ms() / 1000).max(0) as u64;
    server.stats.last_save_s.store(now_s, Ordering::Relaxed);
    tracing::info!(
        "DB saved on disk: {keys} keys, {bytes} bytes in {}, {:.3} seconds",
        path.display(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The name of something that this process removes before it ends.
pub(super) fn temporary_name(ending: &str) -> PathBuf {
    PathBuf::from(format!("temp-{}.{ending}", std::process::id()))
}

/// Removes from the working directory what processes that crashed have left.
pub fn remove_leftovers() {
    for entry in fs::read_dir(".").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("temp-") else {
            continue;
        };
        let writer = |ending| rest.strip_suffix(ending)?.parse::<u32>().ok();
        let is_gone = |id: u32| !Path::new("/proc").join(id.to_string()).exists();
        if writer(".rdb").is_some_and(is_gone) {
            let _ = fs::remove_file(entry.path());
        } else if writer(".tree").is_some_and(is_gone) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    scratch::remove_leftovers();
}

/// Where in a history of replication a dump is from: who has it may go on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The history's name, and the stream's offset.
    pub position: Position,
    /// The database that is selected there.
    pub selected_db: u32,
}

impl Origin {
    /// That of a tree of this history.
    pub fn at(identity: &Identity, meta: &Meta) -> Origin {
        Origin {
            position: Position {
                id: identity.history.id,
                offset: identity.stream_offset(meta.offset),
            },
            selected_db: match meta.selected_db {
                UNKNOWN_DB => 0,
                db => db,
            },
        }
    }

    /// That of a tree which was looked at while this server had the history
    /// `known`: none if it has, or the tree may be of, another one by now, or
    /// nobody follows.
    fn of(server: &Server, known: &Identity, meta: &Meta) -> Option<Origin> {
        let replication = &server.replication;
        let heard_ms = replication.replicas.heard_ms.load(Ordering::Relaxed);
        let matters = replication.is_replica() || heard_ms != 0;
        let same = replication.identity() == *known && meta.offset >= known.begin;
        let named = meta.replication_id == known.history.id.to_string();
        (matters && same && named).then(|| Origin::at(known, meta))
    }

    /// Writes it as Redis does.
    pub fn put<W: Write>(&self, file: &mut FileWriter<W>) -> io::Result<()> {
        let Position { id, offset } = &self.position;
        file.aux("repl-stream-db", self.selected_db.to_string().as_bytes())?;
        file.aux("repl-id", id.to_string().as_bytes())?;
        file.aux("repl-offset", offset.to_string().as_bytes())
    }
}

/// Everything as of one moment.
pub struct Dataset {
    /// A view of a tree that holds it.
    pub snapshot: Snapshot,
    /// The databases in it.
    pub databases: Vec<Database>,
    /// The sources of its function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Of which history it is, where that is known.
    pub origin: Option<Origin>,
    /// The tree, where it was made for this alone.
    _temporary: Option<CacheTree>,
}

impl Dataset {
    /// The keyspace as it is at some moment between the call and its return.
    pub fn take(server: &'static Server) -> Result<Dataset, String> {
        let turn = server.saves.tracking_turn.lock();
        let known = server.replication.identity();
        let (snapshot, temporary) = match server.any_storage() {
            Some(storage) => {
                drop(turn);
                wait_for_checkpoint(server, storage)?;
                (storage.tree.snapshot().map_err(|e| e.to_string())?, None)
            }
            None => {
                let tree = CacheTree::collect(server)?;
                drop(turn);
                (tree.snapshot()?, Some(tree))
            }
        };
        let meta = snapshot.meta().map_err(|e| e.to_string())?;
        Ok(Dataset {
            databases: databases_of(server, &meta),
            functions: functions_of(&meta),
            origin: Origin::of(server, &known, &meta),
            snapshot,
            _temporary: temporary,
        })
    }

    /// About how many keys it has.
    fn keys(&self) -> u64 {
        let count = |db: &Database| self.snapshot.key_count(db.physical).unwrap_or(0);
        self.databases.iter().map(count).sum()
    }
}

/// The databases of a tree with this state, for writing.
pub fn databases_of(server: &Server, meta: &Meta) -> Vec<Database> {
    let physical = decode_map(meta).map_or_else(Vec::new, |map| map.physical);
    let known = server.keyspace.databases() as usize;
    let numbered = physical.into_iter().zip(0..).take(known);
    numbered
        .map(|(physical, logical)| Database {
            logical,
            physical,
            expires: server.keyspace.expires_count(logical),
        })
        .collect()
}

/// The sources of the function libraries of a tree with this state: the tree
/// keeps them as an RDB file has them, each behind a byte.
pub(crate) fn functions_of(meta: &Meta) -> Vec<Vec<u8>> {
    let named = meta.extra.iter().find(|(name, _)| name == LIBRARIES);
    let mut reader = Reader::new(named.map_or(&[], |(_, bytes)| bytes), Limits::default());
    let mut sources = Vec::new();
    while let (Ok(_), Ok(source)) = (reader.byte(), reader.string()) {
        sources.push(source.into_owned());
    }
    sources
}

/// Waits until the tree holds all that there is now.
pub(super) fn wait_for_checkpoint(server: &Server, storage: &Storage) -> Result<(), String> {
    let applied = server.applied.load(Ordering::Relaxed);
    if storage.is_whole() && applied >= storage.log.end().0 {
        return Ok(());
    }
    let number = storage.checkpoints.request();
    while !storage.checkpoints.wait_made(number, CHECKPOINT_TICK) {
        if server.health.has(Trouble::Tree) {
            let failure = server.health.reason().unwrap_or_default();
            return Err(format!("the tree takes nothing over: {failure}"));
        }
        if let Some(failure) = storage.log.failure() {
            return Err(format!("the log is broken: {failure}"));
        }
        if server.saves.is_cancelled() {
            return Err("it was cancelled".into());
        }
    }
    Ok(())
}

/// Whether a file could not be written because a field of a hash expires, which
/// older versions of the format don't have.
fn is_of_fields(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// What the configuration says of how files are written.
pub(super) fn write_options(server: &Server) -> WriteOptions {
    let config = server.config.read();
    WriteOptions {
        compress: config.bool(id("rdbcompression")),
        checksum: config.bool(id("rdbchecksum")),
    }
}

/// Writes the file and makes it durable; gives its keys and bytes.
fn write_file(server: &Server, dataset: &Dataset, path: &Path) -> io::Result<(u64, u64)> {
    let options = write_options(server);
    let file = SyncedFile {
        file: File::create(path)?,
        unsynced: 0,
    };
    let saves = &server.saves;
    saves.keys_total.store(dataset.keys(), Ordering::Relaxed);
    let mut writer = FileWriter::new(file, options);
    if server.keyspace.has_field_expiries() {
        writer = writer.for_valkey_9();
    }
    put_header(&mut writer)?;
    if let Some(origin) = &dataset.origin {
        origin.put(&mut writer)?;
    }
    for source in &dataset.functions {
        writer.function(source)?;
    }
    let mut unslept = 0;
    let mut progress = |keys: u64| {
        saves.keys_done.fetch_add(keys, Ordering::Relaxed);
        dawdle(server, keys, &mut unslept);
        match saves.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let keys = write_snapshot(
        &mut writer,
        &dataset.snapshot,
        &dataset.databases,
        &mut progress,
    )
    .map_err(|error| match error {
        SnapshotError::Io(error) => error,
        SnapshotError::Tree(_) => io::Error::other(error),
        SnapshotError::Cancelled => io::ErrorKind::Interrupted.into(),
    })?;
    let (file, bytes) = writer.finish()?;
    file.file.sync_all()?;
    if saves.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok((keys, bytes))
}

/// What a file tells of its writer.
pub fn put_header<W: Write>(writer: &mut FileWriter<W>) -> io::Result<()> {
    let number = |number: i64| number.to_string().into_bytes();
    let used = crate::memory::used_bytes() as i64;
    writer.aux("redis-ver", crate::state::REDIS_VERSION.as_bytes())?;
    writer.aux("redoubt-ver", env!("CARGO_PKG_VERSION").as_bytes())?;
    writer.aux("redis-bits", &number(64))?;
    writer.aux("ctime", &number(unix_ms() / 1000))?;
    writer.aux("used-mem", &number(used))?;
    writer.aux("aof-base", &number(0))
}

/// `rdb-key-save-delay`, by which tests get a slow snapshot.
pub fn dawdle(server: &Server, keys: u64, unslept: &mut u64) {
    let delay_us = server.settings.key_save_delay_us.load(Ordering::Relaxed);
    match delay_us {
        0 => return,
        1.. => *unslept += keys * delay_us as u64,
        _ => *unslept += keys / delay_us.unsigned_abs(),
    }
    if *unslept >= 1000 {
        server.saves.pause(Duration::from_micros(*unslept));
        *unslept = 0;
    }
}

/// A file that is synced every now and then.
struct SyncedFile {
    file: File,
    unsynced: usize,
}

impl Write for SyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
