//! Beginning anew after a failure (I6).
//!
//! Once a write or a sync has failed, nobody knows what the files hold beyond
//! the synced end, and the kernel may have dropped the pages. So nothing of it
//! is tried again. The state at the end lives on in RAM; the caller makes it
//! durable elsewhere (in the tree), and the log begins anew from there with
//! new files:
//!
//! 1. [`Log::end_failed`] ends the threads of the failed log;
//! 2. with everything at rest for a moment, [`Log::begin_anew`]: the end is
//!    the offset of the state; what is appended from here on is buffered;
//! 3. the state is made durable together with the word that the log begins
//!    anew with a certain segment;
//! 4. [`Log::finish_anew`] removes the old files, makes that segment, and
//!    writes on. After a crash between the two, [`forget_before`] does the
//!    former.
//!
//! If the third step fails, [`Log::abandon_anew`].

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::blocks::BlockWriter;
use super::preparer::Preparer;
use super::segment::{FileName, parse_name};
use super::writer::Writer;
use super::{Log, LogError, LogOptions, Offset, recovery, start_threads};
use crate::disk::Disk;

/// Ids between the old segments and the new first one, so that no file that was
/// prepared for the old log is taken for one of the new.
const ID_GAP: u64 = 16;

impl Log {
    /// Ends the threads of a log that has failed.
    pub fn end_failed(&self) {
        if self.shared.failure().is_none() {
            return;
        }
        let Some(threads) = self.threads.lock().take() else {
            return;
        };
        self.shared.wake_writer();
        self.shared.wake_syncer();
        let writer = threads.writer.join();
        self.preparer.read().close();
        for ended in [writer, threads.syncer.join(), threads.preparer.join()] {
            ended.expect("a thread of the log has panicked");
        }
    }

    /// Takes appends again, though the log has failed, and gives the offset at
    /// which it is going to begin anew.
    pub fn begin_anew(&self) -> Offset {
        let mut group = self.shared.group.lock();
        group.restart();
        Offset(group.end)
    }

    /// The id of the segment that a log begun anew would start with.
    pub fn next_beginning(&self) -> u64 {
        let segments = self.shared.segments.lock();
        segments
            .back()
            .map_or(1, |segment| segment.header.id + ID_GAP)
    }

    /// Refuses appends again; what was appended since [`Log::begin_anew`] is
    /// forgotten.
    pub fn abandon_anew(&self) {
        self.shared.group.lock().refuse();
    }

    /// Removes what there is of the failed log, and writes on from `offset`
    /// with segment `first`. After an error the log is as failed as before,
    /// and this may be tried again from [`Log::begin_anew`] on.
    pub fn finish_anew(&self, offset: Offset, first: u64) -> Result<(), LogError> {
        let result = self.try_finish_anew(offset, first);
        if result.is_err() {
            self.abandon_anew();
        }
        result
    }

    fn try_finish_anew(&self, offset: Offset, first: u64) -> Result<(), LogError> {
        let shared = &self.shared;
        let dir = shared.dir.lock();
        forget_before(&*shared.disk, &dir, u64::MAX)?;
        let options = LogOptions {
            term: self.term(),
            first_segment: first,
            ..shared.options.clone()
        };
        let made = recovery::recover(&*shared.disk, &dir, offset, &options)?;
        drop(dir);
        let segments = VecDeque::from(made.segments);
        let active = segments.back().expect("a log has a segment").clone();
        shared.restart(offset.0, segments);
        let preparer = Arc::new(Preparer::default());
        preparer.prepare(first + 1);
        *self.preparer.write() = preparer.clone();
        let writer = Writer {
            shared: shared.clone(),
            preparer,
            active,
            position: made.position,
            chain: made.chain,
            blocks: BlockWriter::default(),
        };
        *self.threads.lock() = Some(start_threads(writer, made.spares)?);
        shared.announce();
        Ok(())
    }
}

/// Removes the segments with ids below `first`, and all spare files, from a log
/// that is not open: they are a history that was given up.
pub fn forget_before(disk: &dyn Disk, dir: &Path, first: u64) -> Result<(), LogError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(LogError::io("list", dir))?,
    };
    let mut removed = false;
    for name in names {
        let goes = match parse_name(&name) {
            FileName::Segment(id) => id < first,
            FileName::Spare => true,
            FileName::Foreign => false,
        };
        if goes {
            let path = dir.join(name);
            disk.remove(&path).map_err(LogError::io("remove", &path))?;
            removed = true;
        }
    }
    if removed {
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}

/// Whether there is a log in `dir`.
pub fn is_there(disk: &dyn Disk, dir: &Path) -> Result<bool, LogError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        names => names.map_err(LogError::io("list", dir))?,
    };
    let is_segment = |name: &String| matches!(parse_name(name), FileName::Segment(_));
    Ok(names.iter().any(is_segment))
}
