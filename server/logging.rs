//! Where log lines go, and which: standard output or `logfile`, the system's log
//! as well, and from `loglevel` on, which CONFIG SET changes.

mod form;
mod syslog;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, registry, reload};

use crate::config::{Config, id};
use form::Lines;
use syslog::SystemLog;

pub use form::set_role;

/// The level from which on events are logged.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// A log file that is found by its name: once it was moved away, as programs
/// that rotate logs do, further lines go to a new one.
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// The device and the inode of `file`.
    identity: (u64, u64),
}

impl LogFile {
    /// Opens it, and makes it if it is missing.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        let path = std::path::absolute(path)?;
        let file = File::options().create(true).append(true).open(&path)?;
        let identity = identity(&file.metadata()?);
        Ok(LogFile {
            path,
            file,
            identity,
        })
    }

    /// Opens it anew if another file or none has its name now. If that fails,
    /// lines go on to the one that is open.
    fn follow_the_name(&mut self) {
        let named = fs::metadata(&self.path).map(|found| identity(&found));
        if named.is_ok_and(|named| named == self.identity) {
            return;
        }
        if let Ok(other) = LogFile::open(&self.path) {
            *self = other;
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.follow_the_name();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Sends events to the log file or standard output, one line each. Called once.
pub fn start(config: &Config, file: Option<LogFile>) {
    let writer = match file {
        Some(file) => BoxMakeWriter::new(Mutex::new(file)),
        None => BoxMakeWriter::new(io::stdout),
    };
    let (level, handle) = reload::Layer::new(level(config));
    form::set(config);
    let lines = layer().with_ansi(false).event_format(Lines);
    registry()
        .with(level)
        .with(lines.with_writer(writer))
        .with(SystemLog::open(config))
        .init();
    let _ = LEVEL.set(handle);
}

/// Heeds `loglevel` and the form of lines, which have changed.
pub fn change(config: &Config) {
    form::set(config);
    if let Some(handle) = LEVEL.get() {
        // It lives as long as the process.
        let _ = handle.reload(level(config));
    }
}

fn level(config: &Config) -> LevelFilter {
    match &*config.string(id("loglevel")) {
        "debug" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}
