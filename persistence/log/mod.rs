//! The log: write-ahead log, replication stream and backlog in one.
//!
//! The payload is the replication stream, byte for byte; an [`Offset`] counts
//! its bytes and nothing else. On disk it is cut into records, one a group
//! commit ([`record`]), which lie in segment files ([`segment`]):
//!
//! ```text
//! append ──► group ──► writer thread ──► segment ──► segment ──► prepared
//!   (a mutex,  (two buffers   (one write a group;     ▲               ▲
//!    a memcpy)  in turn)       syncs under `always`)  │           preparer thread
//!                                   sync thread ──────┘        (makes, recycles)
//!                                (once a second, sync_to)
//! ```
//!
//! - Appends are ordered by one short mutex, taken while the caller holds the
//!   lock of the key (I1). What one call appends is contiguous.
//! - `end ≥ written ≥ synced`. Replies wait on an offset; nobody's thread waits,
//!   but that of [`Log::sync_to`] (I3).
//! - Any failed write or sync poisons the log for good (I6).
//! - [`recovery`] tells a torn tail from corruption (I7).
//!
//! The log knows nothing of commands but how a `SELECT` is written.

mod anew;
mod blocks;
mod candidate;
mod error;
mod group;
#[cfg(test)]
mod planted;
mod preparer;
mod reader;
mod record;
mod recovery;
mod rounds;
mod segment;
mod shared;
mod space;
mod stats;
mod window;
mod writer;
mod zeros;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, RwLock};

pub use anew::{forget_before, is_there};
pub use error::LogError;
pub use group::UNKNOWN_DB;
#[cfg(test)]
pub use planted::Bug;
pub use reader::LogReader;
pub use rounds::Hastened;
pub use space::Room;
pub use stats::LogStats;
pub use window::WINDOW_BYTES;

use crate::disk::Disk;
use blocks::BlockWriter;
use group::Group;
use preparer::Preparer;
use shared::Shared;
use writer::Writer;

/// A position in the replication stream, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// A period of one primary's rule; grows by one at each promotion. Histories
/// are told apart by (term, offset).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When written data is made durable: the directive `appendfsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After every group, before it is acknowledged.
    Always,
    /// Once a second, in the background.
    EverySec,
    /// When the operating system likes, and on [`Log::sync_to`].
    No,
}

/// How a log is laid out and driven.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Size of a segment file; one huge record may make one larger.
    pub segment_bytes: u64,
    /// Most payload bytes of a record. What is appended at once and has more
    /// goes on in further records.
    pub record_bytes: usize,
    /// When written data is made durable.
    pub policy: SyncPolicy,
    /// How long a group gathers, other than under `always`.
    pub flush_interval_ms: u64,
    /// Time between syncs under `everysec`.
    pub sync_interval_ms: u64,
    /// Trimmed segment files kept to be used again.
    pub spare_segments: usize,
    /// Term of a log that is created; an existing one knows its own.
    pub term: Term,
    /// Id of the first segment of a log that is created.
    pub first_segment: u64,
    /// A bug to be caught by the crash tests.
    #[cfg(test)]
    pub bug: Option<Bug>,
    /// Recovery need not read segments that lie wholly below this offset: the
    /// tree has applied them. Readers check them when they come to them.
    pub verify_from: Offset,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 20,
            record_bytes: 1 << 30,
            policy: SyncPolicy::EverySec,
            flush_interval_ms: 5,
            sync_interval_ms: 1000,
            spare_segments: 2,
            term: Term(0),
            first_segment: 1,
            #[cfg(test)]
            bug: None,
            verify_from: Offset(0),
        }
    }
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The oldest offset in the log.
    pub oldest: Offset,
    /// The end of the log; everything up to here is durable.
    pub end: Offset,
    /// Term of the last record.
    pub term: Term,
    /// Number of segments.
    pub segments: u64,
    /// There was no log; an empty one was made.
    pub created: bool,
    /// Bytes of the files, framing included, that a crash had left behind the
    /// end of the log and that were removed. None of them was ever synced.
    pub dropped_bytes: u64,
}

/// An open log; owns its threads. Shared as `Arc<Log>`.
pub struct Log {
    shared: Arc<Shared>,
    preparer: RwLock<Arc<Preparer>>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    syncer: JoinHandle<()>,
    preparer: JoinHandle<()>,
}

impl Log {
    /// Opens the log in `dir`, which must be under a
    /// [`DirectoryLock`](crate::disk::DirectoryLock), and recovers it. If there
    /// is none, an empty one is made that begins at `start`.
    ///
    /// Fails on corruption and on a missing segment, naming file and position,
    /// and then changes nothing.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        start: Offset,
        options: LogOptions,
    ) -> Result<(Log, RecoveryReport), LogError> {
        let recovered = recovery::recover(&*disk, dir, start, &options)?;
        let report = recovered.report;
        let segments = VecDeque::from(recovered.segments);
        let active = segments.back().expect("a log has a segment").clone();
        let group = Group::new(report.end.0, report.term, options.record_bytes);
        let dir = dir.to_path_buf();
        let shared = Arc::new(Shared::new(disk, dir, options, group, segments));
        let preparer = Arc::new(Preparer::default());
        preparer.prepare(active.header.id + 1);
        let writer = Writer {
            shared: shared.clone(),
            preparer: preparer.clone(),
            active,
            position: recovered.position,
            chain: recovered.chain,
            blocks: BlockWriter::default(),
        };
        let threads = start_threads(writer, recovered.spares)?;
        let log = Log {
            shared,
            preparer: RwLock::new(preparer),
            threads: Mutex::new(Some(threads)),
        };
        Ok((log, report))
    }

    /// Appends the effects of one command, transaction or script, which begin
    /// in database `db` and leave `last_db` selected. A `SELECT` is put before
    /// them if the stream has another database selected. Returns the end.
    ///
    /// Never blocks on the disk. After a failure it does nothing.
    #[inline]
    pub fn append(&self, db: u32, effects: &[u8], last_db: u32) -> Offset {
        let mut group = self.shared.group.lock();
        if group.refused {
            return Offset(group.end);
        }
        group.begin(effects.len());
        if group.selected_db != db {
            group.select(db);
        }
        let wake = group.push(effects);
        group.selected_db = last_db;
        let end = group.end;
        self.shared.end.store(end, Release);
        drop(group);
        self.wake(wake, effects.len());
        Offset(end)
    }

    /// As [`append`](Log::append), with `MULTI` before and `EXEC` behind all of
    /// it, a `SELECT` included.
    pub fn append_transaction(&self, db: u32, effects: &[u8], last_db: u32) -> Offset {
        let mut group = self.shared.group.lock();
        if group.refused {
            return Offset(group.end);
        }
        group.begin(effects.len());
        let mut wake = group.push(b"*1\r\n$5\r\nMULTI\r\n");
        if group.selected_db != db {
            group.select(db);
        }
        wake |= group.push(effects);
        wake |= group.push(b"*1\r\n$4\r\nEXEC\r\n");
        group.selected_db = last_db;
        let end = group.end;
        self.shared.end.store(end, Release);
        drop(group);
        self.wake(wake, effects.len());
        Offset(end)
    }

    /// Appends a part of a primary's stream as it is. Which database is
    /// selected afterwards is unknown to the log, so that the next
    /// [`append`](Log::append) emits a `SELECT`.
    pub fn append_raw(&self, bytes: &[u8]) -> Offset {
        self.append_raw_selected(bytes, UNKNOWN_DB)
    }

    /// As [`append_raw`](Log::append_raw), for a caller who has followed the
    /// stream and knows the database selected at its end.
    pub fn append_raw_selected(&self, bytes: &[u8], selected_db: u32) -> Offset {
        let mut group = self.shared.group.lock();
        if group.refused {
            return Offset(group.end);
        }
        group.begin(bytes.len());
        let wake = group.push(bytes);
        group.selected_db = selected_db;
        let end = group.end;
        self.shared.end.store(end, Release);
        drop(group);
        self.wake(wake, bytes.len());
        Offset(end)
    }

    /// Appends a command that is of no database, such as PING; what is selected
    /// stays so.
    pub fn append_aside(&self, bytes: &[u8]) -> Offset {
        let mut group = self.shared.group.lock();
        if group.refused {
            return Offset(group.end);
        }
        group.begin(bytes.len());
        let wake = group.push(bytes);
        let end = group.end;
        self.shared.end.store(end, Release);
        drop(group);
        self.wake(wake, bytes.len());
        Offset(end)
    }

    /// Has what was appended written soon, rather than when the group's
    /// interval is over. Does not wait.
    pub fn write_soon(&self) {
        self.shared.hurry_writer();
    }

    /// Has everything below `offset` made durable soon. Does not wait.
    pub fn sync_soon(&self, offset: Offset) {
        self.shared.request_sync(offset);
    }

    /// The end of what was appended.
    #[inline]
    pub fn end(&self) -> Offset {
        Offset(self.shared.end.load(Acquire))
    }

    /// The end of what the operating system has; it outlives the process.
    #[inline]
    pub fn written(&self) -> Offset {
        Offset(self.shared.written.load(Acquire))
    }

    /// The end of what is durable.
    #[inline]
    pub fn synced(&self) -> Offset {
        Offset(self.shared.synced.load(Acquire))
    }

    /// The oldest offset in the log.
    pub fn oldest(&self) -> Offset {
        Offset(self.shared.segments.lock()[0].header.start)
    }

    /// The end, and the database selected there, or [`UNKNOWN_DB`].
    pub fn position(&self) -> (Offset, u32) {
        let group = self.shared.group.lock();
        (Offset(group.end), group.selected_db)
    }

    /// Bytes of memory for what is appended and not yet written. Buffers stay
    /// for a while once they are empty.
    pub fn buffer_bytes(&self) -> u64 {
        self.shared.group.lock().buffer_bytes() as u64
    }

    /// Makes the next append emit a `SELECT`, because somebody begins to read
    /// the stream there.
    pub fn force_select_next(&self) {
        self.shared.group.lock().selected_db = UNKNOWN_DB;
    }

    /// Begins a new term with the next record.
    pub fn start_term(&self, term: Term) {
        self.shared.group.lock().set_term(term);
    }

    /// The term of what is appended next.
    pub fn term(&self) -> Term {
        self.shared.group.lock().term()
    }

    /// Blocks until everything below `offset` (at most the end) is durable.
    pub fn sync_to(&self, offset: Offset) -> Result<(), LogError> {
        self.shared.sync_to(offset)
    }

    /// Sets the function that is called with the offset up to which the policy
    /// allows acknowledgements: the synced end under `always`, else the written
    /// end. It is called after every sync and every write that moves it, and
    /// once after a failure; it must not block or call back into the log other
    /// than for its offsets and its failure.
    pub fn on_synced(&self, callback: Box<dyn Fn(Offset) + Send + Sync>) {
        self.shared.set_callback(Arc::from(callback));
    }

    /// Changes the sync policy from now on.
    pub fn set_policy(&self, policy: SyncPolicy) {
        self.shared.set_policy(policy);
    }

    /// Moves the log with all its files to a directory that is not there yet, on
    /// the same file system, while it is in use. The move is durable once the
    /// directories above both are synced.
    pub fn move_to(&self, to: &Path) -> Result<(), LogError> {
        let mut dir = self.shared.dir.lock();
        let moved = self.shared.disk.rename(&dir, to);
        moved.map_err(LogError::io("move", &dir))?;
        *dir = to.to_path_buf();
        Ok(())
    }

    /// The sync policy.
    pub fn policy(&self) -> SyncPolicy {
        self.shared.policy()
    }

    /// Why the log is of no more use, if so (I6).
    pub fn failure(&self) -> Option<Arc<LogError>> {
        self.shared.failure()
    }

    /// A cursor over the payload from `from` on.
    pub fn reader(&self, from: Offset) -> Result<LogReader, LogError> {
        LogReader::open(self.shared.clone(), from)
    }

    /// Frees whole segments that lie wholly below `offset`, and below what is
    /// durable (I5). Their files are recycled or removed in the background.
    pub fn trim_below(&self, offset: Offset) {
        let synced = self.synced();
        #[cfg(test)]
        let offset = match self.shared.options.bug {
            Some(Bug::TrimEarly) => synced,
            _ => offset,
        };
        let mut segments = self.shared.segments.lock();
        while let Some(next) = segments.get(1) {
            // Something in the next one must be durable, so that its header is.
            if next.header.start > offset.0 || next.header.start >= synced.0 {
                return;
            }
            let Some(segment) = segments.pop_front() else {
                return;
            };
            self.preparer.read().recycle(segment);
        }
    }

    /// Writes and syncs everything appended before, and ends the threads.
    /// Later appends do nothing. Closing again is no error.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.group.lock().refused = true;
        if let Some(threads) = self.threads.lock().take() {
            self.shared.stopping.store(true, Release);
            self.shared.hurry_writer();
            let writer = threads.writer.join();
            self.shared.wake_syncer();
            let syncer = threads.syncer.join();
            self.preparer.read().close();
            let preparer = threads.preparer.join();
            for ended in [writer, syncer, preparer] {
                ended.expect("a thread of the log has panicked");
            }
        }
        match self.failure() {
            Some(failure) => Err(LogError::Failed(failure)),
            None => Ok(()),
        }
    }

    /// Waits until trimmed segments are freed and the next one is prepared.
    pub fn wait_for_preparer(&self) {
        let preparer = self.preparer.read().clone();
        preparer.wait_idle();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("the log was not closed cleanly: {error}");
        }
    }
}

fn start_threads(writer: Writer, spares: Vec<PathBuf>) -> Result<Threads, LogError> {
    let shared = writer.shared.clone();
    let preparer = writer.preparer.clone();
    let dir = shared.dir.lock().clone();
    let failed = |error| LogError::io("start the threads for", &dir)(error);
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let builder = thread::Builder::new().name(name.to_owned());
        builder.spawn(body).map_err(failed)
    };
    let (for_syncer, for_preparer) = (shared.clone(), shared.clone());
    let preparer = spawn(
        "log-preparer",
        Box::new(move || preparer.run(&for_preparer, spares)),
    )?;
    let syncer = spawn(
        "log-sync",
        Box::new(move || shared::run_syncer(&for_syncer)),
    )?;
    *shared.syncer.write() = Some(syncer.thread().clone());
    let writer = spawn("log-writer", Box::new(move || writer.run()))?;
    *shared.writer.write() = Some(writer.thread().clone());
    Ok(Threads {
        writer,
        syncer,
        preparer,
    })
}
