//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{Disk, DiskFile};

/// The file system of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

struct RealFile {
    file: File,
    /// The same file for writes past the page cache, opened with the first of
    /// them; `None` where the file system has no such thing.
    direct: OnceLock<Option<File>>,
}

impl RealFile {
    fn wrap(file: File) -> Arc<dyn DiskFile> {
        let direct = OnceLock::new();
        Arc::new(RealFile { file, direct })
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        Ok(RealFile::wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(RealFile::wrap(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let at = position + filled as u64;
            match self.file.read_at(&mut into[filled..], at) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    fn write_blocks(&self, blocks: &[u8], position: u64) -> io::Result<()> {
        if let Some(direct) = self.direct.get_or_init(|| open_direct(&self.file)) {
            match direct.write_all_at(blocks, position) {
                // Larger blocks are asked for, or a write was cut short.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => return result,
            }
        }
        self.write_at(blocks, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let len = self.len()?;
        if len >= bytes {
            return Ok(());
        }
        if reserve(&self.file, bytes)? {
            return Ok(());
        }
        self.file.set_len(bytes)
    }

    #[cfg(target_os = "linux")]
    fn next_data(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        match seek(&self.file, position, libc::SEEK_DATA) {
            Ok(None) => Ok(None),
            Ok(Some(from)) => {
                let to = seek(&self.file, from, libc::SEEK_HOLE)?;
                Ok(Some(from..to.unwrap_or(len)))
            }
            // A file system without such a call.
            Err(_) => Ok((position < len).then_some(position..len)),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Opens `file` once more, for writes past the page cache.
#[cfg(target_os = "linux")]
fn open_direct(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    // By the descriptor: the file may have been renamed since it was opened.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = OpenOptions::new();
    let opened = options.write(true).custom_flags(libc::O_DIRECT).open(path);
    opened.ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_file: &File) -> Option<File> {
    None
}

/// Reserves blocks for the first `bytes` bytes; false where the file system
/// has no such call.
#[cfg(target_os = "linux")]
fn reserve(file: &File, bytes: u64) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the descriptor belongs to `file`, which outlives the call.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(false),
        Some(libc::EINTR) => reserve(file, bytes),
        _ => Err(error),
    }
}

/// Where the next hole (`SEEK_HOLE`) or the next bytes that are none
/// (`SEEK_DATA`) begin at or after `position`; None behind the last one. Space
/// that was reserved and never written is a hole.
#[cfg(target_os = "linux")]
fn seek(file: &File, position: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    use std::os::fd::AsRawFd;
    let from = libc::off_t::try_from(position).map_err(io::Error::other)?;
    // SAFETY: the descriptor belongs to `file`; nobody uses its own position.
    let found = unsafe { libc::lseek(file.as_raw_fd(), from, whence) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _bytes: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{BLOCK_BYTES, BlockBuffer};

    #[test]
    fn blocks_arrive_past_the_page_cache_and_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("file")).unwrap();
        let block = BLOCK_BYTES as usize;
        let mut buffer = BlockBuffer::new(3 * block);
        let bytes = buffer.as_mut_slice();
        bytes[..2 * block].fill(7);
        bytes[2 * block..].fill(9);
        // An address that the kernel refuses stands for any block size it may.
        file.write_blocks(&bytes[1..=block], 0).unwrap();
        file.write_blocks(&bytes[block..], BLOCK_BYTES).unwrap();
        let mut read = vec![0; 4 * block];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 3 * block);
        assert_eq!(read[..3 * block], bytes[..]);
    }
}
