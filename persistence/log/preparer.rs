//! The thread that makes segments ahead of need, and recycles trimmed ones.
//!
//! The next segment lies under its final name, allocated, durable and without
//! a header of its own, before the writer needs it: beginning it takes one
//! small write and no change of the directory. Every change of the directory
//! is synced before the next one, so that a crash can't leave a gap in the
//! sequence of segments.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::segment::{SEGMENT_HEADER_BYTES, Segment, segment_path, spare_path};
use super::shared::Shared;
use super::space::Room;
use super::zeros;
use super::{LogError, SyncPolicy};
use crate::disk::DiskFile;

/// The most files kept to be used again, however fast the log grows.
const MOST_SPARES: usize = 64;
/// Files that were not needed for so long are given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A segment file that waits for its header.
pub struct Prepared {
    pub id: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub capacity: u64,
    pub recycled: bool,
}

enum Job {
    Prepare(u64),
    Recycle(Arc<Segment>),
    /// Gives up what is not needed for now.
    GiveUp,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    prepared: Option<Result<Prepared, LogError>>,
    /// Why the segment asked for could not be made, until one is.
    trouble: Option<String>,
    /// The segment asked for last.
    wanted: u64,
    /// It is being made, or going to be.
    pending: bool,
    closed: bool,
    idle: bool,
}

/// The preparer's inbox and its finished piece.
#[derive(Default)]
pub struct Preparer {
    state: Mutex<State>,
    changed: Condvar,
}

impl Preparer {
    /// Asks for segment `id`; at most one is asked for at a time.
    pub fn prepare(&self, id: u64) {
        let mut state = self.state.lock();
        if !(state.pending && state.wanted == id) {
            state.wanted = id;
            state.pending = true;
            state.jobs.push_front(Job::Prepare(id));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Why the segment asked for could not be made, if so.
    pub fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// Whether the segment asked for waits to be taken.
    pub fn is_ready(&self) -> bool {
        matches!(self.state.lock().prepared, Some(Ok(_)))
    }

    /// Tries again to make a segment that could not be made.
    pub fn retry(&self) {
        let mut state = self.state.lock();
        if matches!(state.prepared, Some(Err(_))) && !state.pending {
            state.prepared = None;
            state.pending = true;
            let id = state.wanted;
            // Behind what waits to be recycled: that may be the space.
            state.jobs.push_back(Job::Prepare(id));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Hands over a segment that no longer belongs to the log.
    pub fn recycle(&self, segment: Arc<Segment>) {
        self.state.lock().jobs.push_back(Job::Recycle(segment));
        self.changed.notify_all();
    }

    /// Has the files given up that there is no room for.
    pub fn give_up_spares(&self) {
        self.state.lock().jobs.push_back(Job::GiveUp);
        self.changed.notify_all();
    }

    /// Waits for the segment asked for.
    pub fn take(&self) -> Result<Prepared, LogError> {
        let mut state = self.state.lock();
        loop {
            if let Some(prepared) = state.prepared.take() {
                return prepared;
            }
            if state.closed {
                return Err(LogError::Closed);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits until nothing is left to do.
    pub fn wait_idle(&self) {
        let mut state = self.state.lock();
        while !(state.closed || state.idle && state.jobs.is_empty()) {
            self.changed.wait(&mut state);
        }
    }

    /// Ends the thread after the job at hand.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.idle = false;
                return Some(job);
            }
            state.idle = true;
            self.changed.notify_all();
            if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                return Some(Job::GiveUp);
            }
        }
    }

    /// The thread's body. `spares` are names of files left from an earlier run.
    pub fn run(&self, shared: &Shared, spares: Vec<PathBuf>) {
        let mut pool = Pool {
            shared,
            spares,
            begun: 0,
            worthwhile: 0,
        };
        pool.shrink(&shared.dir.lock());
        while let Some(job) = self.next_job() {
            match job {
                Job::Prepare(id) => {
                    let prepared = pool.prepare(&shared.dir.lock(), id);
                    let trouble = prepared.as_ref().err().map(ToString::to_string);
                    let troubled = trouble.is_some();
                    let mut state = self.state.lock();
                    state.trouble = trouble;
                    state.prepared = Some(prepared);
                    state.pending = false;
                    drop(state);
                    self.changed.notify_all();
                    if shared.short_of_space.swap(troubled, Relaxed) != troubled {
                        shared.announce();
                    }
                }
                Job::Recycle(segment) => pool.recycle(&shared.dir.lock(), segment),
                Job::GiveUp => {
                    pool.worthwhile = 0;
                    pool.shrink(&shared.dir.lock());
                }
            }
        }
    }
}

/// Files to be used again.
///
/// Segments are freed in bursts, after each checkpoint. Under `always`, where
/// making a file anew means to fill it with zeros, as many are kept as were
/// begun between two bursts, as long as the disk has ample room.
struct Pool<'a> {
    shared: &'a Shared,
    /// Their names.
    spares: Vec<PathBuf>,
    /// Segments made since some were last freed.
    begun: usize,
    /// How many of them a burst needs, by those of late.
    worthwhile: usize,
}

impl Pool<'_> {
    fn prepare(&mut self, dir: &Path, id: u64) -> Result<Prepared, LogError> {
        let path = segment_path(dir, id);
        // One that was made before and could not be grown.
        match self.shared.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &path)(error));
            }
            _ => {}
        }
        self.begun += 1;
        let prepared = match self.spares.pop() {
            Some(spare) => self.reuse(dir, &spare, id),
            None => self.create(dir, id),
        };
        if prepared.is_err() {
            let _ = self.shared.disk.remove(&path);
            let _ = self.shared.disk.sync_dir(dir);
        }
        prepared.map_err(LogError::io("prepare", &path))
    }

    fn reuse(&self, dir: &Path, spare: &Path, id: u64) -> io::Result<Prepared> {
        let disk = &self.shared.disk;
        let (spare, path) = (dir.join(spare), segment_path(dir, id));
        let file = disk.open(&spare)?;
        file.allocate(self.shared.options.segment_bytes)?;
        file.sync_data()?;
        disk.rename(&spare, &path)?;
        disk.sync_dir(dir)?;
        let capacity = file.len()?;
        Ok(Prepared {
            id,
            path,
            file,
            capacity,
            recycled: true,
        })
    }

    fn create(&self, dir: &Path, id: u64) -> io::Result<Prepared> {
        let disk = &self.shared.disk;
        let options = &self.shared.options;
        let path = segment_path(dir, id);
        let file = disk.create(&path)?;
        let capacity = options.segment_bytes.max(SEGMENT_HEADER_BYTES as u64);
        file.allocate(capacity)?;
        if self.shared.policy() == SyncPolicy::Always {
            // Else each sync would have to commit the extents it wrote first.
            zeros::fill(&*file, capacity)?;
        }
        file.sync_data()?;
        disk.sync_dir(dir)?;
        Ok(Prepared {
            id,
            path,
            file,
            capacity,
            recycled: false,
        })
    }

    /// How many files to keep.
    fn limit(&self) -> usize {
        let usual = self.shared.options.spare_segments;
        let zeroed = self.shared.policy() == SyncPolicy::Always;
        match *self.shared.room.lock() {
            Room::Short => 0,
            Room::Ample if zeroed => usual.max(self.worthwhile.min(MOST_SPARES)),
            Room::Usual | Room::Ample => usual,
        }
    }

    /// Keeps the file of a trimmed segment, unless there are enough, it is not
    /// of the usual size, or a reader still has it open.
    fn recycle(&mut self, dir: &Path, segment: Arc<Segment>) {
        let begun = std::mem::take(&mut self.begun);
        if begun != 0 {
            self.worthwhile = begun.max(self.worthwhile.saturating_sub(1));
        }
        let disk = &self.shared.disk;
        let path = segment_path(dir, segment.header.id);
        let spare = spare_path(Path::new(""), segment.header.id);
        let keep = self.spares.len() < self.limit()
            && segment.capacity == self.shared.options.segment_bytes
            && Arc::strong_count(&segment) == 1
            && !self.spares.contains(&spare);
        let done = if keep {
            disk.rename(&path, &dir.join(&spare))
        } else {
            disk.remove(&path)
        };
        match done.and_then(|()| disk.sync_dir(dir)) {
            Ok(()) if keep => self.spares.push(spare),
            Ok(()) => {}
            Err(error) => tracing::warn!("cannot free {}: {error}", path.display()),
        }
    }

    /// Removes spares beyond the number wanted.
    fn shrink(&mut self, dir: &Path) {
        while self.spares.len() > self.limit() {
            let Some(spare) = self.spares.pop() else {
                return;
            };
            let path = dir.join(spare);
            if let Err(error) = self.shared.disk.remove(&path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }
}
