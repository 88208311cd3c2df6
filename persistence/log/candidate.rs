//! The files that recovery finds under the names of segments.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogError;
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_path};
use super::zeros::written_ranges;
use crate::disk::{Disk, DiskFile};

/// A file under a segment's name.
pub struct Candidate {
    /// The segment that its name is of.
    pub id: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Open.
    pub file: Arc<dyn DiskFile>,
    /// Its length in bytes.
    pub len: u64,
    /// What of it may have been written; the rest reads as zeros.
    pub written: Vec<Range<u64>>,
    /// With its CRC; `None` if it was never begun, or its header is bad.
    pub header: Option<(SegmentHeader, u32)>,
}

impl Candidate {
    /// The header, where there must be one.
    pub fn own_header(&self) -> Result<(SegmentHeader, u32), LogError> {
        let damaged = || self.corrupt(0, "the segment header is damaged");
        self.header.ok_or_else(damaged)
    }

    /// The error for what can't be so at a position of the file.
    pub fn corrupt(&self, position: u64, reason: impl Into<String>) -> LogError {
        LogError::Corrupt {
            path: self.path.clone(),
            position,
            reason: reason.into(),
        }
    }
}

/// Opens the files of these segments, ascending, in `dir`.
///
/// A file that was prepared and never begun has no header, or that of the
/// segment that it held before. That one was trimmed, so it came before all
/// that there are: no other segment's header can be here but in the wrong file.
pub fn open_all(disk: &dyn Disk, dir: &Path, ids: &[u64]) -> Result<Vec<Candidate>, LogError> {
    let first = ids.first().copied().unwrap_or(0);
    ids.iter().map(|id| open(disk, dir, *id, first)).collect()
}

fn open(disk: &dyn Disk, dir: &Path, id: u64, first: u64) -> Result<Candidate, LogError> {
    let path = segment_path(dir, id);
    let file = disk.open(&path).map_err(LogError::io("open", &path))?;
    let len = file.len().map_err(LogError::io("read", &path))?;
    // Before anything is read: see `next_data`.
    let written = written_ranges(&*file).map_err(LogError::io("read", &path))?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let count = file.read_at(&mut bytes, 0);
    let count = count.map_err(LogError::io("read", &path))?;
    let mut candidate = Candidate {
        id,
        path,
        file,
        len,
        written,
        header: SegmentHeader::decode(&bytes[..count]),
    };
    if let Some((found, _)) = candidate.header.take_if(|(header, _)| header.id != id)
        && found.id >= first
    {
        let reason = format!(
            "it is the segment of {}: files are in each other's place",
            segment_path(dir, found.id).display()
        );
        return Err(candidate.corrupt(0, reason));
    }
    Ok(candidate)
}
