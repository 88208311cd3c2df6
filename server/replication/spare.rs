//! A small file that is replaced whole even where the disk is full: what is to
//! take its place is written over a spare beside it, whose room is there
//! already, and the two change places. So what was the file is the next spare.
//!
//! A crash at any point leaves one or the other, whole. For that no room is
//! written over that a power cut may still make the file's: the change of
//! places before it is durable, and nothing else shares the spare.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A spare has room for so many bytes at least.
const ROOM: u64 = 4096;

/// The file is there under its name, but that may not be durable.
#[derive(Debug)]
pub struct Unsettled(io::Error);

impl std::fmt::Display for Unsettled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unsettled {}

/// The spare of a file.
fn spare_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".spare");
    name.into()
}

/// Makes `bytes` all that the file `name` in `dir` holds, durably. After an
/// error that is [`Unsettled`] a power cut decides whether it does; after any
/// other it holds what it did.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(name);
    let spare = spare_of(&path);
    let directory = File::open(dir)?;
    // Where the last replacement came to nothing, the next begins with this.
    directory.sync_all()?;
    write(&spare, bytes)?;
    if exchange(&spare, &path).is_err() {
        // There is no file yet, or the file system can't.
        fs::rename(&spare, &path)?;
    }
    if let Err(error) = directory.sync_all() {
        // What it has room in may still be the file.
        let _ = fs::remove_file(&spare);
        return Err(io::Error::other(Unsettled(error)));
    }
    if let Err(error) = reserve(&spare) {
        tracing::debug!("{} has no room: {error}", spare.display());
    }
    Ok(())
}

/// Writes the spare, over what it holds.
fn write(spare: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_shared = |spare: fs::Metadata| !spare.is_file() || spare.nlink() != 1;
    if fs::symlink_metadata(spare).is_ok_and(is_shared) {
        fs::remove_file(spare)?;
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let mut file = options.open(spare)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}

/// Has two files change places, in one step.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes());
        let (one, other) = (name(one)?, name(other)?);
        let (here, how) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
        // SAFETY: both paths end in NUL, and live as long as the call.
        let result = unsafe {
            let (one, other) = (one.as_ptr(), other.as_ptr());
            libc::syscall(libc::SYS_renameat2, here, one, here, other, how)
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (one, other);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Sees that the spare has room, if the disk has any.
fn reserve(spare: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let mut file = options.open(spare)?;
    let there = file.metadata()?;
    if there.blocks() * 512 < ROOM {
        file.seek(SeekFrom::Start(there.len()))?;
        let missing = ROOM.saturating_sub(there.len()) as usize;
        file.write_all(&vec![b'\n'; missing])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_the_file_is_the_next_spare() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for text in ["a longer text", "a text", "", "another text"] {
            replace(dir.path(), "file", text.as_bytes()).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
            let room = fs::metadata(spare_of(&path)).expect("it is there");
            assert!(room.blocks() * 512 >= ROOM, "{room:?}");
        }
    }

    #[test]
    fn what_a_copy_shares_with_the_spare_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let [path, copy] = ["file", "copy"].map(|name| dir.path().join(name));
        replace(dir.path(), "file", b"first").expect("it is written");
        fs::hard_link(&path, &copy).expect("it is there");
        for text in ["second", "third", "fourth"] {
            replace(dir.path(), "file", text.as_bytes()).expect("it is written");
            assert_eq!(fs::read_to_string(&copy).expect("it is there"), "first");
        }
    }
}
