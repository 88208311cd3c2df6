//! Opening a log directory: which records count, where the log ends, and
//! whether what is missing was torn off by a crash or has rotted (I7).
//!
//! The oldest segment's header is durable before the file gets its name, and
//! a segment is trimmed only after something in the next one is durable. So
//! the oldest header must be good. From there records are followed as long as
//! CRC, chain, segment id and offset agree, and on into the next segment where
//! it takes up exactly at the end of this one.
//!
//! Where that stops, everything later is searched for genuine records and
//! headers. Each states up to where the log was durable when it was written.
//! If one claims an offset beyond the stop, durable data is gone: corruption,
//! and nothing is changed. If none does, the rest had never been synced, and
//! the log is truncated at the stop: or before it, where the records that were
//! read last are the beginning of an append whose end is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Release};

use super::candidate::{self, Candidate};
use super::record::{ALIGNMENT, MAGIC, RecordHeader};
use super::segment::{
    FileName, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, parse_name, segment_path, spare_path,
};
use super::window::Window;
use super::zeros::{is_zero, zero};
use super::{LogError, LogOptions, Offset, RecoveryReport, Term};
use crate::disk::Disk;

/// Bytes searched at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// A log directory after recovery.
pub struct Recovered {
    /// Oldest to active, at least one.
    pub segments: Vec<Arc<Segment>>,
    /// Position in the active file of the next record.
    pub position: u64,
    /// CRC of the last record.
    pub chain: u32,
    /// Names of files that can be recycled.
    pub spares: Vec<PathBuf>,
    /// For the operator.
    pub report: RecoveryReport,
}

/// Where following the records of one segment stopped.
#[derive(Clone, Copy)]
struct Stop {
    /// Of which candidate.
    index: usize,
    position: u64,
    chain: u32,
    end: u64,
    term: u64,
    /// Nothing that was appended at once goes on behind it.
    is_whole: bool,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    window: Window,
}

/// Recovers `dir`, or creates the first segment at `start` if there is none.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    start: Offset,
    options: &LogOptions,
) -> Result<Recovered, LogError> {
    disk.create_dir(dir).map_err(LogError::io("create", dir))?;
    let mut recovery = Recovery {
        disk,
        dir,
        window: Window::default(),
    };
    let (ids, spares) = recovery.list()?;
    if ids.is_empty() {
        return recovery.create(start, options, spares);
    }
    let candidates = candidate::open_all(disk, dir, &ids)?;
    recovery.follow(candidates, spares, options)
}

impl Recovery<'_> {
    /// Ids of the segments, ascending, and names of the spare files.
    fn list(&self) -> Result<(Vec<u64>, Vec<PathBuf>), LogError> {
        let names = self.disk.list(self.dir);
        let names = names.map_err(LogError::io("list", self.dir))?;
        let (mut ids, mut spares) = (Vec::new(), Vec::new());
        for name in names {
            match parse_name(&name) {
                FileName::Segment(id) => ids.push(id),
                FileName::Spare => spares.push(PathBuf::from(name)),
                FileName::Foreign => tracing::warn!(
                    "{} does not belong to the log and is ignored",
                    self.dir.join(name).display()
                ),
            }
        }
        ids.sort_unstable();
        for pair in ids.windows(2) {
            if pair[0] + 1 != pair[1] {
                return Err(LogError::MissingSegment {
                    path: segment_path(self.dir, pair[0] + 1),
                });
            }
        }
        Ok((ids, spares))
    }

    /// The very first segment. It gets its name once its header is durable.
    fn create(
        &self,
        start: Offset,
        options: &LogOptions,
        stale: Vec<PathBuf>,
    ) -> Result<Recovered, LogError> {
        for name in &stale {
            let path = self.dir.join(name);
            let removed = self.disk.remove(&path);
            removed.map_err(LogError::io("remove", &path))?;
        }
        if !stale.is_empty() {
            // One of them may have the temporary name: should its removal be
            // lost and the new file's renaming not, it would become the log.
            self.sync_dir()?;
        }
        let id = options.first_segment;
        let (temporary, path) = (spare_path(self.dir, id), segment_path(self.dir, id));
        let header = SegmentHeader::begin(id, start.0, options.term.0, 0);
        let (bytes, seed) = header.encode();
        let capacity = options.segment_bytes.max(SEGMENT_HEADER_BYTES as u64);
        let create = || {
            let file = self.disk.create(&temporary)?;
            file.allocate(capacity)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(self.dir)?;
            Ok(file)
        };
        let file = create().map_err(LogError::io("create", &path))?;
        let segment = Segment {
            header,
            seed,
            file,
            path,
            capacity,
            written_to: AtomicU64::new(SEGMENT_HEADER_BYTES as u64),
        };
        Ok(Recovered {
            segments: vec![Arc::new(segment)],
            position: SEGMENT_HEADER_BYTES as u64,
            chain: seed,
            spares: Vec::new(),
            report: RecoveryReport {
                oldest: start,
                end: start,
                term: options.term,
                segments: 1,
                created: true,
                dropped_bytes: 0,
            },
        })
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let synced = self.disk.sync_dir(self.dir);
        synced.map_err(LogError::io("sync", self.dir))
    }

    /// Follows the records from the oldest segment on, and settles the end.
    fn follow(
        &mut self,
        candidates: Vec<Candidate>,
        spares: Vec<PathBuf>,
        options: &LogOptions,
    ) -> Result<Recovered, LogError> {
        let mut segments = Vec::new();
        let mut index = 0;
        let (mut read, mut kept) = (None, None);
        loop {
            let candidate = &candidates[index];
            let (header, seed) = candidate.own_header()?;
            let next = candidates.get(index + 1).and_then(|c| c.header);
            if let Some((next, _)) = next
                && next.start >= header.start
                && next.start <= options.verify_from.0
            {
                segments.push(segment(candidate, header, seed, candidate.len));
                index += 1;
                continue;
            }
            let (stop, whole) = self.scan(candidate, index, read)?;
            (read, kept) = (Some(stop), whole.or(kept));
            segments.push(segment(candidate, header, seed, stop.position));
            if let Some((next, _)) = next
                && next.start == stop.end
                && next.previous == stop.chain
            {
                index += 1;
                continue;
            }
            let kept = kept.expect("the first segment that is read begins with one");
            return self.settle(&candidates, stop, kept, segments, spares);
        }
    }

    /// Follows the records of one segment; the one before ends at `before`. Gives
    /// where they stop, and the last place up to there at which an append ends.
    fn scan(
        &mut self,
        candidate: &Candidate,
        index: usize,
        before: Option<Stop>,
    ) -> Result<(Stop, Option<Stop>), LogError> {
        let (header, seed) = candidate.own_header()?;
        let mut stop = Stop {
            index,
            position: SEGMENT_HEADER_BYTES as u64,
            chain: seed,
            end: header.start,
            term: before.map_or(0, |stop| stop.term).max(header.term),
            is_whole: before.is_none_or(|stop| stop.is_whole),
        };
        let mut kept = None;
        self.window.clear();
        loop {
            kept = if stop.is_whole { Some(stop) } else { kept };
            let record = self.record(candidate, stop.position)?;
            let genuine = |r: &RecordHeader| {
                r.segment == header.id
                    && r.nonce == header.nonce
                    && r.offset == stop.end
                    && r.previous == stop.chain
            };
            let Some(record) = record.filter(genuine) else {
                return Ok((stop, kept));
            };
            stop.position += record.span();
            stop.chain = record.crc;
            stop.end += u64::from(record.length);
            stop.term = record.term;
            stop.is_whole = !record.continues;
        }
    }

    fn record(&mut self, from: &Candidate, at: u64) -> Result<Option<RecordHeader>, LogError> {
        let record = self.window.record(&*from.file, at, from.len);
        record.map_err(LogError::io("read", &from.path))
    }

    /// Decides between a torn tail and corruption, and truncates to what is `kept`
    /// of what was read up to `stop`.
    fn settle(
        &mut self,
        candidates: &[Candidate],
        stop: Stop,
        kept: Stop,
        mut segments: Vec<Arc<Segment>>,
        mut spares: Vec<PathBuf>,
    ) -> Result<Recovered, LogError> {
        let (last, later) = (&candidates[kept.index], &candidates[kept.index + 1..]);
        let own = self.search(last, kept.position)?;
        let (mut claimed, mut beyond) = (own.synced, Vec::new());
        for later in later {
            claimed = claimed.max(later.header.map_or(0, |(h, _)| h.synced));
            let found = self.search(later, SEGMENT_HEADER_BYTES as u64)?;
            claimed = claimed.max(found.synced);
            beyond.push(found);
        }
        if claimed > kept.end {
            return Err(lost(candidates, stop, claimed));
        }
        // What is read of a segment that is not the last one goes up to its end.
        let torn_from = if stop.index == kept.index { stop } else { kept };
        let torn_to = self.torn_extent(last, torn_from.position, &own)?;
        let mut dropped_bytes = torn_to - kept.position;
        for (later, found) in later.iter().zip(&beyond).rev() {
            if later.header.is_some() {
                let at = SEGMENT_HEADER_BYTES as u64;
                dropped_bytes += self.torn_extent(later, at, found)? - at;
            }
            // Used again, it might come back under an id that it has records of,
            // and these would count as long as it has no header of its own.
            if later.header.is_some() {
                let removed = self.disk.remove(&later.path);
                removed.map_err(LogError::io("remove", &later.path))?;
            } else {
                let spare = spare_path(Path::new(""), later.id);
                let renamed = self.disk.rename(&later.path, &self.dir.join(&spare));
                renamed.map_err(LogError::io("rename", &later.path))?;
                if !spares.contains(&spare) {
                    spares.push(spare);
                }
            }
            self.sync_dir()?;
        }
        zero(&*last.file, kept.position, torn_to).map_err(LogError::io("write", &last.path))?;
        segments.truncate(kept.index + 1);
        (segments[kept.index].written_to).store(kept.position, Release);
        for segment in &segments {
            let synced = segment.file.sync_data();
            synced.map_err(LogError::io("sync", &segment.path))?;
        }
        self.sync_dir()?;
        let report = RecoveryReport {
            oldest: Offset(segments[0].header.start),
            end: Offset(kept.end),
            term: Term(kept.term),
            segments: segments.len() as u64,
            created: false,
            dropped_bytes,
        };
        Ok(Recovered {
            segments,
            position: kept.position,
            chain: kept.chain,
            spares,
            report,
        })
    }

    /// Searches a file from `position` on for genuine records of its segment.
    fn search(&mut self, candidate: &Candidate, position: u64) -> Result<Found, LogError> {
        let failed = |error| LogError::io("read", &candidate.path)(error);
        let nonce = candidate.header.map(|(header, _)| header.nonce);
        let mut found = Found {
            synced: 0,
            end: 0,
            used_to: position,
        };
        let mut chunk = Vec::new();
        let mut at = position;
        self.window.clear();
        while at < candidate.len {
            // What was never written holds no record.
            let Some(range) = candidate.written.iter().find(|range| range.end > at) else {
                break;
            };
            at = at.max(range.start) & !(ALIGNMENT - 1);
            chunk.resize(CHUNK_BYTES.min(range.end - at) as usize, 0);
            let count = candidate.file.read_at(&mut chunk, at).map_err(failed)?;
            if count == 0 {
                break;
            }
            let mut next = at + count as u64;
            if is_zero(&chunk[..count]) {
                at = next;
                continue;
            }
            let used = chunk[..count].iter().rposition(|byte| *byte != 0);
            found.used_to = at + used.map_or(0, |last| last as u64 + 1);
            for (index, word) in chunk[..count].chunks_exact(ALIGNMENT as usize).enumerate() {
                if word[..4] != MAGIC.to_le_bytes() {
                    continue;
                }
                let here = at + index as u64 * ALIGNMENT;
                let genuine = |r: &RecordHeader| {
                    r.segment == candidate.id && nonce.is_none_or(|n| n == r.nonce)
                };
                let mut end = here;
                while let Some(record) = self.record(candidate, end)?.filter(genuine) {
                    found.synced = found.synced.max(record.synced);
                    end += record.span();
                }
                if end > here {
                    found.end = end;
                    next = end;
                    break;
                }
            }
            at = next;
        }
        Ok(found)
    }

    /// How far the bytes go that a crash left behind after `position`. In a
    /// recycled file only what carries this segment's id can be told from the
    /// file's past.
    fn torn_extent(
        &mut self,
        candidate: &Candidate,
        position: u64,
        found: &Found,
    ) -> Result<u64, LogError> {
        let Some((header, _)) = candidate.header else {
            return Ok(position);
        };
        if !header.recycled {
            return Ok(found.used_to.max(found.end));
        }
        let failed = |error| LogError::io("read", &candidate.path)(error);
        self.window.clear();
        let (file, len) = (&*candidate.file, candidate.len);
        let bytes = self.window.read(file, position, 64, len).map_err(failed)?;
        let ours = RecordHeader::decode(bytes).filter(|r| r.segment == header.id);
        let torn = ours.map_or(position, |r| position.saturating_add(r.span()).min(len));
        Ok(torn.max(found.end))
    }
}

/// What a search found.
struct Found {
    /// The highest durable offset that a record claims.
    synced: u64,
    /// Position after the last genuine record, 0 if there is none.
    end: u64,
    /// Position after the last byte that is not zero.
    used_to: u64,
}

fn segment(from: &Candidate, header: SegmentHeader, seed: u32, written_to: u64) -> Arc<Segment> {
    Arc::new(Segment {
        header,
        seed,
        file: from.file.clone(),
        path: from.path.clone(),
        capacity: from.len,
        written_to: AtomicU64::new(written_to),
    })
}

/// Durable data is gone at `stop`: says where to look.
fn lost(candidates: &[Candidate], stop: Stop, claimed: u64) -> LogError {
    let evidence = format!(
        "offset {} can't be read, though later records show that the log was durable up to {claimed}",
        stop.end
    );
    let here = &candidates[stop.index];
    let next = candidates.get(stop.index + 1);
    if let Some(next) = next.filter(|next| next.header.is_none()) {
        let mut bytes = [0; 4];
        let read = here.file.read_at(&mut bytes, stop.position);
        if read.is_ok() && bytes != MAGIC.to_le_bytes() {
            let reason = format!("the segment header is damaged: {evidence}");
            return next.corrupt(0, reason);
        }
    }
    here.corrupt(stop.position, evidence)
}
