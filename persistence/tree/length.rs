//! The length of the data file against what its metadata says.
//!
//! LMDB maps the file: to touch a page behind the end ends the process. A file
//! can rightly end a few pages early (pages that were taken and given back in
//! one transaction are never written), so a short one is lengthened by a hole,
//! which reads as pages that are none, and then everything is read once.

use std::fs::File;
use std::path::{Path, PathBuf};

use heed::{Env, WithoutTls};

use super::TreeError;

/// Name that LMDB gives its file.
const DATA_FILE: &str = "data.mdb";

/// The file was shorter than its last page.
pub struct Missing {
    path: PathBuf,
    len: u64,
    needed: u64,
}

impl Missing {
    /// The error for something that turns out to be gone.
    pub fn error(&self, cause: TreeError) -> TreeError {
        TreeError::Truncated {
            path: self.path.clone(),
            len: self.len,
            needed: self.needed,
            what: cause.to_string(),
        }
    }
}

/// Bytes of the data file in `dir`.
pub fn of_file(dir: &Path) -> Result<u64, TreeError> {
    let path = dir.join(DATA_FILE);
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(source) => Err(TreeError::Io { path, source }),
    }
}

/// Lengthens the file of `env` to its last page; says so if it had to.
pub fn complete(env: &Env<WithoutTls>, dir: &Path) -> Result<Option<Missing>, TreeError> {
    let path = dir.join(DATA_FILE);
    let failed = |source| TreeError::Io {
        path: path.clone(),
        source,
    };
    let file = File::options().write(true).open(&path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    // SAFETY: sysconf only looks up a number. LMDB's pages are the system's.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as u64;
    let needed = (env.info().last_page_number as u64 + 1) * page;
    if len >= needed {
        return Ok(None);
    }
    file.set_len(needed).map_err(failed)?;
    tracing::warn!(
        "{} has {len} bytes, its last page ends at {needed}: everything in it is checked",
        path.display()
    );
    Ok(Some(Missing { path, len, needed }))
}
