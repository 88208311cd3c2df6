//! A disk that can be told to fail, for tests of a whole server.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Disk, DiskFile, RealDisk};

/// What is to go wrong; all of it is off at first.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    /// Writes fail with EIO.
    pub fail_writes: AtomicBool,
    /// Syncs fail with EIO.
    pub fail_syncs: AtomicBool,
    /// Files can't be made or grown (ENOSPC).
    pub no_space: AtomicBool,
}

impl FaultSwitch {
    /// Ends all faults.
    pub fn clear(&self) {
        for fault in [&self.fail_writes, &self.fail_syncs, &self.no_space] {
            fault.store(false, Relaxed);
        }
    }

    fn check(&self, fault: &AtomicBool, code: i32) -> io::Result<()> {
        match fault.load(Relaxed) {
            true => Err(io::Error::from_raw_os_error(code)),
            false => Ok(()),
        }
    }
}

/// The real disk behind a [`FaultSwitch`].
#[derive(Debug, Default, Clone)]
pub struct FaultyDisk {
    disk: RealDisk,
    switch: Arc<FaultSwitch>,
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    switch: Arc<FaultSwitch>,
}

impl FaultyDisk {
    /// The switch.
    pub fn switch(&self) -> Arc<FaultSwitch> {
        self.switch.clone()
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile {
            file,
            switch: self.switch.clone(),
        })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.switch.check(&self.switch.no_space, libc::ENOSPC)?;
        Ok(self.wrap(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.switch.check(&self.switch.fail_syncs, libc::EIO)?;
        self.disk.sync_dir(dir)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(into, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.switch.check(&self.switch.fail_writes, libc::EIO)?;
        self.file.write_at(bytes, position)
    }

    fn write_blocks(&self, blocks: &[u8], position: u64) -> io::Result<()> {
        self.switch.check(&self.switch.fail_writes, libc::EIO)?;
        self.file.write_blocks(blocks, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.switch.check(&self.switch.fail_syncs, libc::EIO)?;
        self.file.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.switch.check(&self.switch.no_space, libc::ENOSPC)?;
        self.file.allocate(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn next_data(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(position)
    }
}
