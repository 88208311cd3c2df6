//! The order of steps by which the tree takes over from the log, on which I4
//! and I5 rest. The server goes through it with LMDB, the crash tests with a
//! stand-in on a simulated disk.

use std::fmt;

use crate::log::{Log, LogError, Offset};

/// Why a checkpoint failed.
#[derive(Debug)]
pub enum CheckpointError<E> {
    /// The log could not be made durable up to the offset.
    Log(LogError),
    /// The tree could not commit.
    Tree(E),
}

impl<E: fmt::Display> fmt::Display for CheckpointError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Log(error) => error.fmt(f),
            CheckpointError::Tree(error) => error.fmt(f),
        }
    }
}

/// Commits rows that hold exactly the effects below `offset` together with that
/// offset. The log is durable up to there first: the tree must never be ahead
/// of the log on disk.
pub fn commit<E>(
    log: &Log,
    offset: Offset,
    commit: impl FnOnce() -> Result<(), E>,
) -> Result<(), CheckpointError<E>> {
    log.sync_to(offset).map_err(CheckpointError::Log)?;
    commit().map_err(CheckpointError::Tree)
}

/// Trims the log below what the last durable commit of the tree has applied,
/// but for `kept_bytes` of it.
pub fn trim(log: &Log, applied: Offset, kept_bytes: u64) {
    log.trim_below(Offset(applied.0.saturating_sub(kept_bytes)));
}

/// After a failure of the log: the tree takes over everything from RAM, with the
/// word that the log begins anew with a certain segment; then it does. The
/// caller has stopped the log ([`Log::end_failed`]) and holds the state as of
/// [`Log::begin_anew`], which gave `offset`. An error leaves the log as failed
/// as before.
pub fn begin_anew<E>(
    log: &Log,
    offset: Offset,
    commit: impl FnOnce(u64) -> Result<(), E>,
) -> Result<(), CheckpointError<E>> {
    let first = log.next_beginning();
    if let Err(error) = commit(first) {
        log.abandon_anew();
        return Err(CheckpointError::Tree(error));
    }
    log.finish_anew(offset, first).map_err(CheckpointError::Log)
}
