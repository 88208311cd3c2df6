//! What can go wrong with the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Offset;

/// An error of the log. All but `OutOfRange` and `Closed` mean that the log
/// can't go on, or can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was being done, as a verb: `write`, `sync`, `create` …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A record that was once durable no longer reads back (I7).
    #[error(
        "the log is corrupt: {} at byte {position}: {reason}. The data after it can't be trusted. \
         To repair, restore this data directory from a replica or a backup: start empty and \
         resynchronise from a replica, or put a backup in place",
        .path.display()
    )]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Position of the bad bytes in that file.
        position: u64,
        /// What is wrong with them.
        reason: String,
    },
    /// A segment between two others is gone.
    #[error(
        "the log is incomplete: segment file {} is missing, though later ones exist. To repair, \
         put the file back, or restore this data directory from a replica or a backup",
        .path.display()
    )]
    MissingSegment {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A reader asked for an offset that the log does not hold.
    #[error("offset {asked} is not in the log, which holds {oldest} to {end}")]
    OutOfRange {
        /// The offset asked for.
        asked: Offset,
        /// The oldest offset held.
        oldest: Offset,
        /// The end of what was appended.
        end: Offset,
    },
    /// The log failed earlier, for this reason, and is of no more use (I6).
    #[error("the log has failed: {0}")]
    Failed(#[source] Arc<LogError>),
    /// There is no space for the next segment. The log waits for some; what
    /// it was given meanwhile is not durable, and not lost either.
    #[error("there is no space on the disk for the log's next segment")]
    Stalled,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Whether the disk, or this user's share of it, has no room left.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            LogError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            LogError::Failed(cause) => cause.is_out_of_space(),
            LogError::Stalled => true,
            _ => false,
        }
    }

    /// For `map_err`: wraps the system's error with what was being done.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_path_buf();
        move |source| LogError::Io {
            doing,
            path,
            source,
        }
    }
}
