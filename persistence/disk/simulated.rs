//! A disk in memory that can lose power, fill up, and fail.
//!
//! Contents have two images, what the process sees and what survives. A write
//! marks 512-byte sectors; a sync copies them over. [`SimulatedDisk::crash`]
//! lets any subset of the marked sectors and of the unsynced directory changes
//! survive, which is all that a real disk promises.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// The unit that survives a power cut whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What goes wrong, from when it is injected until it is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes fail with EIO.
    WriteError,
    /// The next sync fails with EIO and drops its pages as Linux does: they
    /// look clean afterwards, so a later sync "succeeds" without them.
    SyncErrorOnce,
    /// Files can't grow any more (ENOSPC).
    NoSpace,
}

/// The disk as one boot of the machine sees it. Clones share it.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    boot: u64,
}

#[derive(Default)]
struct State {
    /// Counts crashes; handles from before one no longer work.
    boot: u64,
    /// Changes of the disk left until the power is cut.
    left: Option<u64>,
    /// The power is cut: nothing works until the next boot.
    dead: bool,
    next_inode: u64,
    files: HashMap<u64, Inode>,
    seen: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    pending: Vec<DirectoryChange>,
    faults: Vec<Fault>,
    syncs: u64,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    marked: BTreeSet<usize>,
}

enum DirectoryChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    boot: u64,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
    }

    /// Cuts the power and returns the disk as the next boot sees it. Which
    /// unsynced sectors and directory changes survive is drawn from `seed`.
    /// This boot's disk and files fail from now on; faults are cleared.
    pub fn crash(&self, seed: u64) -> SimulatedDisk {
        let mut state = self.state.lock();
        let mut random = SplitMix(seed);
        state.boot += 1;
        state.left = None;
        state.dead = false;
        state.faults.clear();
        for change in std::mem::take(&mut state.pending) {
            if random.coin() {
                change.apply(&mut state.durable);
            }
        }
        state.seen = state.durable.clone();
        let mut inodes: Vec<_> = state.files.iter_mut().collect();
        inodes.sort_by_key(|(id, _)| **id);
        for (_, inode) in inodes {
            inode.crash(&mut random);
        }
        SimulatedDisk {
            state: self.state.clone(),
            boot: state.boot,
        }
    }

    /// The state, unless the power was cut since this boot.
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        match state.boot != self.boot || state.dead {
            true => Err(crashed()),
            false => Ok(state),
        }
    }

    /// Cuts the power at the `changes`th change of the disk from now on: a
    /// write, a sync, or a change of a directory. What that one does may
    /// survive or not, and everything after it fails until
    /// [`crash`](SimulatedDisk::crash) boots the machine anew.
    pub fn cut_power_after(&self, changes: u64) {
        self.state.lock().left = Some(changes);
    }

    /// Whether the power was cut.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Injects `fault`.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Ends all injected faults.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// Number of file syncs that succeeded.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The bytes of a file as the process sees them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.seen.get(path)?;
        Some(state.files[inode].seen.clone())
    }

    /// Overwrites part of a file durably, behind the program's back.
    pub fn tamper(&self, path: &Path, position: usize, bytes: &[u8]) {
        let mut state = self.state.lock();
        let inode = state.seen[path];
        let file = state.files.get_mut(&inode).expect("a name has an inode");
        for image in [&mut file.seen, &mut file.durable] {
            if image.len() < position + bytes.len() {
                image.resize(position + bytes.len(), 0);
            }
            image[position..position + bytes.len()].copy_from_slice(bytes);
        }
    }
}

fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

impl State {
    /// Counts a change of the disk; an error if the power is cut with it.
    fn count_change(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => return Ok(()),
            Some(left) => *left = left.saturating_sub(1),
        }
        if self.left != Some(0) {
            return Ok(());
        }
        self.dead = true;
        Err(crashed())
    }

    fn change(&mut self, change: DirectoryChange) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    fn existing(&self, path: &Path) -> io::Result<u64> {
        let inode = self.seen.get(path).copied();
        inode.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl DirectoryChange {
    /// Applies the change; one whose forerunner was lost has no effect.
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            DirectoryChange::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            DirectoryChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            DirectoryChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Inode {
    fn mark(&mut self, from: usize, to: usize) {
        if to > from {
            self.marked
                .extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
        }
    }

    fn write(&mut self, bytes: &[u8], position: usize) {
        let end = position + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[position..end].copy_from_slice(bytes);
        self.mark(position, end);
    }

    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.marked) {
            self.persist(sector);
        }
    }

    fn persist(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let to = (from + SECTOR_BYTES).min(self.seen.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        self.durable[from..to].copy_from_slice(&self.seen[from..to]);
    }

    fn crash(&mut self, random: &mut SplitMix) {
        for sector in std::mem::take(&mut self.marked) {
            if random.coin() {
                self.persist(sector);
            }
        }
        if self.durable.len() < self.seen.len() && random.coin() {
            self.durable.resize(self.seen.len(), 0);
        }
        self.seen = self.durable.clone();
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.running()?;
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let survives = state.count_change();
        state.next_inode += 1;
        let inode = state.next_inode;
        state.files.insert(inode, Inode::default());
        state.change(DirectoryChange::Create(path.to_path_buf(), inode));
        survives?;
        let boot = state.boot;
        Ok(Arc::new(SimulatedFile {
            state: self.state.clone(),
            inode,
            boot,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.running()?;
        Ok(Arc::new(SimulatedFile {
            state: self.state.clone(),
            inode: state.existing(path)?,
            boot: state.boot,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.running()?;
        let inside = state.seen.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        state.existing(from)?;
        state.change(DirectoryChange::Rename(
            from.to_path_buf(),
            to.to_path_buf(),
        ));
        state.count_change()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        state.existing(path)?;
        state.change(DirectoryChange::Remove(path.to_path_buf()));
        state.count_change()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        state.count_change()?;
        state.pending.clear();
        state.durable = state.seen.clone();
        Ok(())
    }
}

impl SimulatedFile {
    /// Runs `action` on the inode, unless the power was cut since opening.
    fn with<T>(&self, action: impl FnOnce(&mut Inode, &mut Vec<Fault>) -> T) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.boot != self.boot || state.dead {
            return Err(crashed());
        }
        let State { files, faults, .. } = &mut *state;
        let inode = files.get_mut(&self.inode).expect("inodes are kept");
        Ok(action(inode, faults))
    }

    /// Counts a change that was made; an error if the power is cut with it.
    fn count_change(&self) -> io::Result<()> {
        self.state.lock().count_change()
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|inode, _| {
            let from = (position as usize).min(inode.seen.len());
            let count = into.len().min(inode.seen.len() - from);
            into[..count].copy_from_slice(&inode.seen[from..from + count]);
            count
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with(|inode, faults| {
            let position = position as usize;
            if faults.contains(&Fault::WriteError) {
                // What a failed write leaves behind is anyone's guess: half.
                inode.write(&bytes[..bytes.len() / 2], position);
                return Err(errno(libc::EIO));
            }
            if faults.contains(&Fault::NoSpace) && position + bytes.len() > inode.seen.len() {
                return Err(errno(libc::ENOSPC));
            }
            inode.write(bytes, position);
            Ok(())
        })??;
        self.count_change()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.count_change()?;
        self.with(|inode, faults| {
            let failing = faults.iter().position(|f| *f == Fault::SyncErrorOnce);
            if let Some(index) = failing {
                faults.remove(index);
                inode.marked.clear();
                return Err(errno(libc::EIO));
            }
            inode.sync();
            Ok(())
        })??;
        self.state.lock().syncs += 1;
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.with(|inode, faults| {
            let bytes = bytes as usize;
            if inode.seen.len() < bytes {
                if faults.contains(&Fault::NoSpace) {
                    return Err(errno(libc::ENOSPC));
                }
                inode.seen.resize(bytes, 0);
            }
            Ok(())
        })?
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|inode, _| inode.seen.len() as u64)
    }
}

/// The splitmix64 generator: a crash replays exactly from its seed.
struct SplitMix(u64);

impl SplitMix {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_may_lose_the_rest() {
        let mut kept_sizes = BTreeSet::new();
        for seed in 0..32 {
            let disk = SimulatedDisk::new();
            let path = Path::new("/d/file");
            let file = disk.create(path).unwrap();
            file.write_at(&[1; 1024], 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[2; 4096], 1024).unwrap();
            let disk = disk.crash(seed);
            assert!(file.len().is_err(), "handles die with the machine");
            let bytes = disk.contents(path).unwrap();
            assert_eq!(bytes[..1024], [1; 1024]);
            kept_sizes.insert(bytes.iter().filter(|b| **b == 2).count());
        }
        assert!(kept_sizes.len() > 3, "crashes differ: {kept_sizes:?}");
    }

    #[test]
    fn a_failed_sync_drops_its_pages() {
        let disk = SimulatedDisk::new();
        let path = Path::new("/d/file");
        let file = disk.create(path).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        disk.inject(Fault::SyncErrorOnce);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        let disk = disk.crash(0);
        assert_ne!(disk.contents(path).unwrap(), [1; 512]);
    }
}
