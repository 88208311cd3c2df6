//! Writes what a snapshot of the tree holds.

use std::io::{self, Write};
use std::ops::ControlFlow;

use crate::tree::{ScanCursor, Snapshot, TreeError};

use super::writer::FileWriter;

/// How many hash slots there are; the tree's rows lie slot by slot.
const SLOTS: u16 = 16_384;
/// Rows between two reports of progress.
const ROWS_PER_SCAN: usize = 256;

/// A database to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Database {
    /// The number that clients know it by.
    pub logical: u32,
    /// Its number in the tree.
    pub physical: u32,
    /// About how many of its keys have an expiry: a hint for readers.
    pub expires: u64,
}

/// Is told every few hundred keys how many were written since the last time, and may break off.
pub type Progress<'p> = &'p mut dyn FnMut(u64) -> ControlFlow<()>;

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The stream does not take it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The tree can't be read.
    #[error("{0}{advice}", advice = advice(.0))]
    Tree(#[from] TreeError),
    /// Progress said so.
    #[error("cancelled")]
    Cancelled,
}

/// What can be done about a key that can't be read: without it nothing is written at all.
fn advice(error: &TreeError) -> &'static str {
    match error {
        TreeError::Corrupt { .. } => {
            ". Without this key there is no snapshot and no full sync: remove it (DEL) or write it \
             anew (SET, RESTORE ... REPLACE)"
        }
        _ => "",
    }
}

/// Writes all keys of `databases`; gives how many. What has to come before them (auxiliary fields,
/// functions) and the end are the caller's. Memory: the largest value.
pub fn write_snapshot<W: Write>(
    writer: &mut FileWriter<W>,
    snapshot: &Snapshot,
    databases: &[Database],
    progress: Progress<'_>,
) -> Result<u64, SnapshotError> {
    let mut written = 0;
    for database in databases {
        let keys = snapshot.key_count(database.physical)?;
        if keys == 0 {
            continue;
        }
        writer.select_db(database.logical)?;
        writer.resize_db(keys, database.expires.min(keys))?;
        for slot in 0..SLOTS {
            let slot = write_slot(writer, snapshot, database.physical, slot, progress);
            written += slot.map_err(|error| match error {
                SnapshotError::Tree(error) => error.in_database(database.logical).into(),
                other => other,
            })?;
        }
    }
    Ok(written)
}

/// Writes the keys of one hash slot of a (physical) database; gives how many.
pub fn write_slot<W: Write>(
    writer: &mut FileWriter<W>,
    snapshot: &Snapshot,
    physical: u32,
    slot: u16,
    progress: Progress<'_>,
) -> Result<u64, SnapshotError> {
    let mut cursor = ScanCursor::start();
    let mut written = 0;
    while !cursor.is_done() {
        let mut keys = 0;
        let mut failure = None;
        snapshot.scan_slot(physical, slot, &mut cursor, ROWS_PER_SCAN, &mut |row| {
            keys += 1;
            match writer.key(row.key, row.expire_at_ms, row.payload) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        written += keys;
        if keys > 0 && progress(keys).is_break() {
            return Err(SnapshotError::Cancelled);
        }
    }
    Ok(written)
}
