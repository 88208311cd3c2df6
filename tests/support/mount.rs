//! File systems of a test's own, for disks that are full or read-only.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A file system in memory on a directory; unmounted when dropped.
pub struct Mount<'a>(&'a Path);

impl Mount<'_> {
    /// Mounts one with an option of `mount`, such as `size=64m`. None, said
    /// aloud, where nothing can be mounted.
    pub fn new<'a>(at: &'a Path, option: &str) -> Option<Mount<'a>> {
        fs::create_dir_all(at).expect("a directory can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", option, "none"])
            .arg(at)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Mount(at));
        }
        eprintln!("SKIPPED: nothing can be mounted here");
        None
    }

    /// Mounts it anew with another option, such as `ro`.
    pub fn make(&self, option: &str) {
        let options = format!("remount,{option}");
        let mounted = Command::new("mount")
            .args(["-o", &options])
            .arg(self.0)
            .status();
        assert!(mounted.expect("mount can be run").success(), "{options}");
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
