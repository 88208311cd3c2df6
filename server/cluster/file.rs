//! `nodes.conf` on the disk: locked against a second server, replaced as a
//! whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// The file.
pub struct NodesFile {
    path: PathBuf,
    /// Whether a failed write may be survived.
    best_effort: bool,
    _lock: File,
}

impl NodesFile {
    /// Finds and locks the file that the configuration names. The server's
    /// working directory is `dir` by then.
    pub fn open(config: &Config) -> Result<NodesFile, String> {
        let name = config.string(super::options::id("cluster-config-file"));
        let path = PathBuf::from(&*name);
        // The file itself is replaced, so the lock is on one beside it.
        let lock_path = beside(&path, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| format!("can't open {}: {e}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "Sorry, the cluster configuration file {} is already used by a different Cluster node. Please make sure that different nodes use different cluster configuration files.",
                    path.display()
                ));
            }
            Err(TryLockError::Error(e)) => {
                return Err(format!("can't lock {}: {e}", lock_path.display()));
            }
        }
        let behavior = config.string(super::options::id("cluster-config-save-behavior"));
        Ok(NodesFile {
            path,
            best_effort: &*behavior == "best-effort",
            _lock: lock,
        })
    }

    /// Its text, if it is there.
    pub fn read(&self) -> Result<Option<String>, String> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("can't read {}: {e}", self.path.display())),
        }
    }

    /// Replaces it. A node that can't keep its word stops: what it promises
    /// next would be forgotten.
    pub fn write(&self, text: &str, sync: bool) {
        let Err(error) = self.replace(text, sync) else {
            return;
        };
        tracing::error!("Could not save {}: {error}", self.path.display());
        if !self.best_effort {
            std::process::exit(1);
        }
    }

    fn replace(&self, text: &str, sync: bool) -> std::io::Result<()> {
        let new = beside(&self.path, "new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        if sync {
            file.sync_data()?;
        }
        std::fs::rename(&new, &self.path)?;
        if sync {
            let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
