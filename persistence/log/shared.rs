//! What the log's handle, its threads and its readers share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::group::Group;
use super::segment::Segment;
use super::space::Room;
use super::stats::Counters;
use super::{LogError, LogOptions, Offset, SyncPolicy};
use crate::disk::Disk;

type Callback = Arc<dyn Fn(Offset) + Send + Sync>;

/// How often a blocked `sync_to` looks again by itself.
const RECHECK: Duration = Duration::from_millis(100);

pub struct Shared {
    pub disk: Arc<dyn Disk>,
    /// Held by who makes, renames or removes files in it.
    pub dir: Mutex<PathBuf>,
    pub options: LogOptions,
    pub group: Mutex<Group>,
    /// End of what was appended.
    pub end: AtomicU64,
    /// End of what was handed to the operating system.
    pub written: AtomicU64,
    /// End of what is durable.
    pub synced: AtomicU64,
    /// Oldest to active.
    pub segments: Mutex<VecDeque<Arc<Segment>>>,
    /// Where the first segment begins behind what readers found unreadable.
    pub readable_from: AtomicU64,
    pub counters: Counters,
    /// The log is being closed: the writer drains and ends.
    pub stopping: AtomicBool,
    /// Somebody needs everything up to here to be synced.
    pub sync_requested: AtomicU64,
    /// The next segment could not be made; there may be room in this one.
    pub short_of_space: AtomicBool,
    /// For files that are not needed for now.
    pub room: Mutex<Room>,
    /// There is no space for the next segment; the writer waits for some.
    pub stalled: AtomicBool,
    /// How many follow the log closely.
    pub hastened: AtomicUsize,
    /// The writer's thread, once it runs.
    pub writer: RwLock<Option<Thread>>,
    /// The sync thread, once it runs.
    pub syncer: RwLock<Option<Thread>>,
    policy: AtomicU8,
    hurry: AtomicBool,
    failed: AtomicBool,
    failure: RwLock<Option<Arc<LogError>>>,
    callback: RwLock<Option<Callback>>,
    progress: Mutex<()>,
    progressed: Condvar,
    one_sync: Mutex<()>,
}

impl Shared {
    /// The state of a log that was recovered up to `end`, all of it synced.
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        group: Group,
        segments: VecDeque<Arc<Segment>>,
    ) -> Shared {
        let end = group.end;
        Shared {
            disk,
            dir: Mutex::new(dir),
            group: Mutex::new(group),
            end: AtomicU64::new(end),
            written: AtomicU64::new(end),
            synced: AtomicU64::new(end),
            segments: Mutex::new(segments),
            readable_from: AtomicU64::new(0),
            counters: Counters::new(),
            stopping: AtomicBool::new(false),
            sync_requested: AtomicU64::new(0),
            short_of_space: AtomicBool::new(false),
            room: Mutex::default(),
            stalled: AtomicBool::new(false),
            hastened: AtomicUsize::new(0),
            writer: RwLock::new(None),
            syncer: RwLock::new(None),
            policy: AtomicU8::new(options.policy as u8),
            hurry: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: RwLock::new(None),
            callback: RwLock::new(None),
            progress: Mutex::new(()),
            progressed: Condvar::new(),
            one_sync: Mutex::new(()),
            options,
        }
    }

    pub fn policy(&self) -> SyncPolicy {
        match self.policy.load(Relaxed) {
            p if p == SyncPolicy::Always as u8 => SyncPolicy::Always,
            p if p == SyncPolicy::EverySec as u8 => SyncPolicy::EverySec,
            _ => SyncPolicy::No,
        }
    }

    pub fn set_policy(&self, policy: SyncPolicy) {
        self.policy.store(policy as u8, Relaxed);
        self.hurry_writer();
    }

    pub fn set_callback(&self, callback: Callback) {
        *self.callback.write() = Some(callback);
    }

    pub fn failure(&self) -> Option<Arc<LogError>> {
        match self.failed.load(Acquire) {
            true => self.failure.read().clone(),
            false => None,
        }
    }

    /// The log begins anew at `offset`, in `segments`: what was below is
    /// elsewhere. The threads of the failed one have ended.
    pub fn restart(&self, offset: u64, segments: VecDeque<Arc<Segment>>) {
        *self.segments.lock() = segments;
        self.written.store(offset, Release);
        self.synced.store(offset, Release);
        self.counters.restarted();
        self.short_of_space.store(false, Release);
        *self.failure.write() = None;
        self.failed.store(false, Release);
    }

    /// Notes whether the writer waits for space, and tells those who wait.
    pub fn set_stalled(&self, stalled: bool) {
        if self.stalled.swap(stalled, Relaxed) != stalled {
            self.announce();
        }
    }

    /// Wakes the writer if it sleeps; it then looks for a new group.
    pub fn wake_writer(&self) {
        if let Some(thread) = &*self.writer.read() {
            thread.unpark();
        }
    }

    /// Wakes the writer and keeps it from waiting for its interval.
    pub fn hurry_writer(&self) {
        self.hurry.store(true, Release);
        self.wake_writer();
    }

    /// Whether the writer was told to hurry since it took that.
    pub fn is_hurried(&self) -> bool {
        self.hurry.load(Acquire)
    }

    /// Whether the writer was told to hurry since it last asked.
    pub fn take_hurry(&self) -> bool {
        self.hurry.swap(false, Acquire)
    }

    pub fn wake_syncer(&self) {
        if let Some(thread) = &*self.syncer.read() {
            thread.unpark();
        }
    }

    /// Whether a `sync_to` waits for a sync.
    pub fn sync_is_wanted(&self) -> bool {
        self.sync_requested.load(Acquire) > self.synced.load(Acquire)
    }

    /// Wakes those who block on progress and calls the callback with the
    /// offset up to which the policy allows an acknowledgement.
    pub fn announce(&self) {
        drop(self.progress.lock());
        self.progressed.notify_all();
        let callback = self.callback.read().clone();
        if let Some(callback) = callback {
            callback(Offset(match self.policy() {
                SyncPolicy::Always => self.synced.load(Acquire),
                SyncPolicy::EverySec | SyncPolicy::No => self.written.load(Acquire),
            }));
        }
    }

    /// Poisons the log (I6). Only the first failure counts.
    pub fn fail(&self, error: LogError) {
        // First of all: nobody may begin anew and then be refused.
        self.group.lock().refuse();
        let mut failure = self.failure.write();
        if failure.is_none() {
            tracing::error!("the log has failed and takes no more writes: {error}");
            *failure = Some(Arc::new(error));
        }
        drop(failure);
        self.failed.store(true, Release);
        self.wake_writer();
        self.wake_syncer();
        self.announce();
    }

    /// Makes everything written so far durable. A failure poisons the log and
    /// is never retried: the kernel may have dropped the pages.
    pub fn sync_written(&self) {
        match self.try_sync() {
            Ok(false) => {}
            Ok(true) => self.announce(),
            Err(error) => {
                self.counters.sync_failed();
                self.fail(error);
            }
        }
    }

    fn try_sync(&self) -> Result<bool, LogError> {
        let _one = self.one_sync.lock();
        let target = self.written.load(Acquire);
        let synced = self.synced.load(Acquire);
        if self.failed.load(Acquire) || target <= synced {
            return Ok(false);
        }
        let started = Instant::now();
        for segment in self.segments_with(synced, target) {
            #[cfg(test)]
            if self.options.bug == Some(super::Bug::SkipSync) && target.is_multiple_of(4) {
                continue;
            }
            let result = segment.file.sync_data();
            #[cfg(test)]
            let result = match self.options.bug {
                Some(super::Bug::RetrySync) => result.or_else(|_| segment.file.sync_data()),
                _ => result,
            };
            result.map_err(LogError::io("sync", &segment.path))?;
        }
        self.counters.synced(started.elapsed());
        if self.failed.load(Acquire) {
            return Ok(false);
        }
        self.synced.store(target, Release);
        Ok(true)
    }

    /// Segments that hold any of the payload from `from` to `to`.
    fn segments_with(&self, from: u64, to: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments.lock();
        let mut found = Vec::new();
        let mut segment_end = u64::MAX;
        for segment in segments.iter().rev() {
            if segment.header.start < to && segment_end > from {
                found.push(segment.clone());
            }
            segment_end = segment.header.start;
            if segment_end <= from {
                break;
            }
        }
        found.reverse();
        found
    }

    /// Has everything below `offset` made durable soon.
    pub fn request_sync(&self, offset: Offset) {
        let target = offset.0.min(self.end.load(Acquire));
        if self.synced.load(Acquire) < target {
            self.sync_requested.fetch_max(target, Release);
            self.hurry_writer();
        }
    }

    /// Blocks until everything below `offset` is durable.
    pub fn sync_to(&self, offset: Offset) -> Result<(), LogError> {
        let target = offset.0.min(self.end.load(Acquire));
        if self.synced.load(Acquire) >= target {
            return Ok(());
        }
        self.request_sync(offset);
        let mut progress = self.progress.lock();
        loop {
            if self.synced.load(Acquire) >= target {
                return Ok(());
            }
            if let Some(failure) = self.failure() {
                return Err(LogError::Failed(failure));
            }
            if self.stalled.load(Relaxed) {
                return Err(LogError::Stalled);
            }
            self.progressed.wait_for(&mut progress, RECHECK);
        }
    }
}

/// The sync thread: once a second under `everysec`, and whenever `sync_to`
/// asks for it, so that the writer never waits behind a sync.
pub fn run_syncer(shared: &Shared) {
    let second = Duration::from_millis(shared.options.sync_interval_ms);
    let mut last = Instant::now();
    loop {
        if shared.stopping.load(Acquire) || shared.failure().is_some() {
            return;
        }
        let due = shared.policy() == SyncPolicy::EverySec && last.elapsed() >= second;
        if due || shared.sync_is_wanted() {
            last = Instant::now();
            shared.sync_written();
        }
        let rest = match shared.policy() {
            SyncPolicy::EverySec => second.saturating_sub(last.elapsed()),
            SyncPolicy::Always | SyncPolicy::No => second,
        };
        std::thread::park_timeout(rest.max(Duration::from_millis(1)));
    }
}
