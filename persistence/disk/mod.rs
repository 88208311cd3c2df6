//! The few file operations that the log needs, behind two traits, so that a
//! [`SimulatedDisk`] can lose power in the middle of a write.
//!
//! The traits promise what POSIX does and no more: a write is durable only
//! after [`DiskFile::sync_data`], a change of a directory only after
//! [`Disk::sync_dir`], and a failed sync may have dropped the pages it was
//! asked to write.

mod blocks;
mod faulty;
mod lock;
mod real;
mod simulated;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use blocks::{BLOCK_BYTES, BlockBuffer};
pub use faulty::{FaultSwitch, FaultyDisk};
pub use lock::{DirectoryLock, LockError};
pub use real::RealDisk;
pub use simulated::{Fault, SECTOR_BYTES, SimulatedDisk};

/// A file system, as far as the log uses one.
pub trait Disk: Send + Sync {
    /// Creates `dir` and its parents; it may exist already.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file for reading and writing; an existing one is an
    /// `AlreadyExists` error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Names of the plain files in `dir`, in no particular order. Names that
    /// are not Unicode are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Renames a file, replacing `to` if it exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles stay usable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every earlier create, rename and remove in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Positions and lengths are in bytes.
pub trait DiskFile: Send + Sync {
    /// Reads at `position` until `into` is full or the file ends; returns the
    /// number of bytes read.
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `position`, growing the file if need be.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// As [`write_at`](DiskFile::write_at), but past the page cache where the
    /// file system can. Position and length are multiples of [`BLOCK_BYTES`],
    /// and so is the address: `blocks` lies in a [`BlockBuffer`].
    fn write_blocks(&self, blocks: &[u8], position: u64) -> io::Result<()> {
        self.write_at(blocks, position)
    }

    /// Makes the file's contents and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space so that the file is at least `bytes` long; the new part
    /// reads as zeros.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// The next range at or after `position` that may have been written, as
    /// far as the file system can tell; all that lies between these reads as
    /// zeros. Where a file was read, it may no longer be able to tell.
    fn next_data(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((position < len).then_some(position..len))
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
