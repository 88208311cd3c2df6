//! Import of what a Redis or Valkey server left behind: a dump file, or an
//! append-only directory. At start, when this server's own log and tree hold
//! nothing yet; or from the command line. A pure cache has only the dump file,
//! and reads it at every start.
//!
//! Everything goes into the keyspace first; one checkpoint then takes it into
//! the tree. So an import is done whole or not at all, and never twice: a
//! file with an error, or a crash, leaves log and tree empty.

mod aof;
mod manifest;
mod rdb;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::save::Origin;
use crate::config::{Config, id};
use crate::state::Server;

pub use rdb::{Decoded, decode_file, put_library};

/// How often progress is told.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A dump file.
    Rdb(PathBuf),
    /// Files of commands, the first of which may be, or begin with, a dump.
    Aof(Vec<PathBuf>),
}

/// What came of an import.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Keys of the dump that were stored.
    pub keys: u64,
    /// Keys left out because they had expired.
    pub expired: u64,
    /// Keys left out because their collection was empty.
    pub empty: u64,
    /// Function libraries loaded.
    pub functions: u64,
    /// Modules whose data was passed over.
    pub modules: Vec<String>,
    /// Commands run.
    pub commands: u64,
    /// Commands that answered with an error, which is passed over.
    pub failed: u64,
}

impl Summary {
    fn tell(&self, source: &Source, began: Instant) {
        let what = match source {
            Source::Rdb(path) => path.display().to_string(),
            Source::Aof(files) => format!("{} append-only files", files.len()),
        };
        tracing::info!(
            "DB loaded from {what}: {} keys, {} commands, {:.3} seconds",
            self.keys,
            self.commands,
            began.elapsed().as_secs_f64()
        );
        let notes = [
            (self.expired, "keys were left out: they had expired"),
            (
                self.empty,
                "keys were left out: their collections were empty",
            ),
            (self.failed, "commands answered with an error"),
        ];
        for (count, text) in notes.iter().filter(|(count, _)| *count > 0) {
            tracing::warn!("{count} {text}");
        }
        for module in &self.modules {
            tracing::warn!("data of module '{module}' was passed over");
        }
    }
}

/// Tells every few seconds how far an import is.
struct Progress {
    told: Instant,
    total_bytes: u64,
    done_bytes: u64,
}

impl Progress {
    fn new(files: &[&Path]) -> Progress {
        let len = |path: &&Path| std::fs::metadata(path).map_or(0, |file| file.len());
        Progress {
            told: Instant::now(),
            total_bytes: files.iter().map(len).sum(),
            done_bytes: 0,
        }
    }

    /// `bytes` of the file at hand are done.
    fn at(&mut self, bytes: u64, summary: &Summary) {
        if self.told.elapsed() < REPORT_EVERY {
            return;
        }
        self.told = Instant::now();
        let done = self.done_bytes + bytes;
        tracing::info!(
            "importing: {:.0} % ({} of {} bytes), {} keys, {} commands",
            100.0 * done as f64 / self.total_bytes.max(1) as f64,
            done,
            self.total_bytes,
            summary.keys,
            summary.commands
        );
    }

    fn end_file(&mut self, path: &Path) {
        self.done_bytes += std::fs::metadata(path).map_or(0, |file| file.len());
    }
}

/// What the working directory has for an import, by the configuration's
/// names: the append-only files if `appendonly` is on or there is no dump
/// file, else the dump file.
fn find(config: &Config) -> Result<Option<Source>, String> {
    let dump = PathBuf::from(config.string(id("dbfilename")).into_owned());
    if dump.is_file() && !config.bool(id("appendonly")) {
        return Ok(Some(Source::Rdb(dump)));
    }
    if !super::start::is_persistent(config) {
        return Ok(None);
    }
    let dir = PathBuf::from(config.string(id("appenddirname")).into_owned());
    let name = config.string(id("appendfilename")).into_owned();
    let manifest = dir.join(format!("{name}.manifest"));
    if manifest.is_file() {
        return Ok(Some(Source::Aof(manifest::files(&manifest)?)));
    }
    let single = PathBuf::from(name);
    if single.is_file() {
        return Ok(Some(Source::Aof(vec![single])));
    }
    Ok(dump.is_file().then_some(Source::Rdb(dump)))
}

/// What a path on the command line names: a dump file, a file of commands, a
/// manifest, or the directory of one.
pub fn source_at(path: &Path) -> Result<Source, String> {
    let failed = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut manifests = paths.filter(|path| path.extension().is_some_and(|e| e == "manifest"));
        return match (manifests.next(), manifests.next()) {
            (Some(manifest), None) => Ok(Source::Aof(manifest::files(&manifest)?)),
            _ => Err(format!(
                "{} is a directory without just one manifest of append-only files",
                path.display()
            )),
        };
    }
    if path.extension().is_some_and(|ending| ending == "manifest") {
        return Ok(Source::Aof(manifest::files(path)?));
    }
    match rdb::is_dump(path).map_err(failed)? {
        true => Ok(Source::Rdb(path.to_path_buf())),
        false => Ok(Source::Aof(vec![path.to_path_buf()])),
    }
}

/// Whether nothing was ever stored here: a primary that had nothing leaves
/// neither key nor log after a full sync, but what it had is what counts.
pub fn is_new(server: &Server) -> bool {
    let has_keys = (0..server.keyspace.databases()).any(|db| server.keyspace.key_count(db) > 0);
    let storage = server.any_storage();
    let stored = storage.is_some_and(|storage| storage.log.end().0 > 0 || storage.is_sent());
    !has_keys && !stored
}

/// Imports what the working directory has, if nothing was stored here yet.
pub fn at_start(server: &'static Server) -> Result<(), String> {
    let found = find(&server.config.read())?;
    let Some(source) = found else { return Ok(()) };
    if !is_new(server) {
        return Ok(());
    }
    let origin = match &source {
        Source::Rdb(path) => rdb::origin(path),
        Source::Aof(_) => None,
    };
    import(server, &source, origin).map(|_| ())
}

/// Imports a source into an empty keyspace, and makes it durable. With an
/// `origin`, this server goes on from there in replication.
pub fn import(
    server: &'static Server,
    source: &Source,
    origin: Option<Origin>,
) -> Result<Summary, String> {
    let began = Instant::now();
    let loaded = match source {
        // Who goes on from there hears what expires.
        Source::Rdb(path) => rdb::load_dump(server, path, origin.is_none()),
        Source::Aof(files) => aof::load(server, files),
    };
    let summary = loaded.map_err(|error| format!("Fatal error loading the DB: {error}"))?;
    if let Some(origin) = origin {
        super::replication::go_on_from(server, &origin)?;
    }
    super::checkpoint::now(server)?;
    let (keys, expired) = &server.saves.loaded;
    keys.store(summary.keys, Ordering::Relaxed);
    expired.store(summary.expired, Ordering::Relaxed);
    summary.tell(source, began);
    Ok(summary)
}
