//! The thread that watches storage: how far the tree is behind the log (I8),
//! how much of the disk is left, and whether the log has room to go on.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use redoubt_persistence::log::Room;

use super::recovery::log_directory;
use crate::config::{DirectiveId, id};
use crate::health::Trouble;
use crate::replication::identity::TREE;
use crate::state::{Server, Storage};

/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Writers are held up for this long at most, just below the limit.
const MAX_SLOW_US: u64 = 100_000;

const SLOW: DirectiveId = id("tree-lag-slow");
const LIMIT: DirectiveId = id("tree-lag-limit");
const FREE_MIN: DirectiveId = id("disk-free-min");

/// With fewer bytes free than this the disk is looked at more often: it may be
/// full in a tenth of a second.
const SHORT_BYTES: u64 = 1 << 30;
/// With so many times the bytes free that must be, the log may keep files that
/// it does not need for now.
const AMPLE_FACTOR: u64 = 8;

/// Starts the thread, for log and tree in `dir`. It ends with that which makes
/// checkpoints.
pub fn start(
    server: &'static Server,
    storage: &'static Storage,
    dir: &Path,
) -> std::io::Result<()> {
    let places = [log_directory(dir), dir.join(TREE)];
    let thread = std::thread::Builder::new().name("storage-watch".into());
    thread
        .spawn(move || run(server, storage, &places))
        .map(|_| ())
}

fn run(server: &'static Server, storage: &'static Storage, places: &[PathBuf]) {
    let mut ticks: u64 = 0;
    let mut below_least = false;
    while !storage.checkpoints.is_stopped() {
        crate::resident::watch(server);
        watch_lag(server, storage);
        watch_log(server, storage);
        let short = server.health.disk_free.load(Ordering::Relaxed) < SHORT_BYTES;
        if short || ticks.is_multiple_of(5) {
            watch_disk(server, storage, places, &mut below_least);
        }
        if ticks.is_multiple_of(5) {
            storage.log.retry_space();
        }
        ticks += 1;
        std::thread::sleep(TICK);
    }
}

/// A directive's value in bytes.
fn bytes(server: &Server, directive: DirectiveId) -> u64 {
    server.config.read().integer(directive).max(0) as u64
}

/// How long a writer is held up when the tree is `lag` bytes behind: nothing up
/// to `soft`, then more and more up to `hard`.
fn slow_us(lag: u64, soft: u64, hard: u64) -> u64 {
    if soft == 0 || lag <= soft {
        return 0;
    }
    let span = hard.saturating_sub(soft).max(1);
    let share = ((lag - soft) as f64 / span as f64).min(1.0);
    (share * MAX_SLOW_US as f64) as u64
}

fn watch_lag(server: &Server, storage: &Storage) {
    let (soft, hard) = (bytes(server, SLOW), bytes(server, LIMIT));
    let lag = server.tree_lag(storage);
    let slow = slow_us(lag, soft, if hard == 0 { soft * 2 } else { hard });
    let pressed = (crate::eviction::pressure(server, lag) * MAX_SLOW_US as f64) as u64;
    let slow = slow.max(pressed);
    server.health.slow_us.store(slow, Ordering::Relaxed);
    if hard != 0 && lag >= hard {
        server.health.set(
            Trouble::Lag,
            format!("the tree is {lag} bytes behind the log, and tree-lag-limit is {hard}; writes are taken again once it has caught up"),
        );
    } else if hard == 0 || lag < hard - hard / 8 {
        server.health.clear(Trouble::Lag);
    }
}

/// Notes what the log says of itself. Called by its own threads as well.
pub fn watch_log(server: &Server, storage: &Storage) {
    if let Some(failure) = storage.log.failure() {
        server.health.set(
            Trouble::Log,
            format!("errors writing to the log: {failure}; the server tries every second to store everything and begin a new log"),
        );
    }
    let stalled = storage.log.is_stalled().then(|| "it is full".to_string());
    match storage.log.space_trouble().or(stalled) {
        Some(trouble) => server.health.set(
            Trouble::Space,
            format!("the log's next segment can't be made: {trouble}; writes are taken again once it can"),
        ),
        None => server.health.clear(Trouble::Space),
    }
}

/// `below_least`: there were fewer bytes free than there must be, and not
/// clearly more since.
fn watch_disk(server: &Server, storage: &Storage, places: &[PathBuf], below_least: &mut bool) {
    let free = places.iter().filter_map(|place| free_bytes(place)).min();
    let Some(free) = free else { return };
    let health = &server.health;
    health.disk_free.store(free, Ordering::Relaxed);
    let least = bytes(server, FREE_MIN);
    let needed = storage.tree.stats().map_or(0, |tree| {
        let spare = tree.file_bytes.saturating_sub(tree.used_bytes);
        tree_growth(server.tree_lag(storage), tree.used_bytes).saturating_sub(spare)
    });
    if needed > 0 && free < least.saturating_add(needed.saturating_mul(2)) {
        // While it can still be made.
        health.checkpoint_wanted.store(true, Ordering::Relaxed);
    }
    // In trouble the tree needs it more.
    let short = health.has(Trouble::Disk) || health.has(Trouble::Tree);
    let ample = free / AMPLE_FACTOR > least.saturating_add(needed);
    storage.log.note_room(match (short, ample) {
        (true, _) => Room::Short,
        (_, true) => Room::Ample,
        _ => Room::Usual,
    });
    match disk_trouble(free, least, needed, below_least) {
        Some(trouble) => health.set(Trouble::Disk, trouble),
        None => health.clear(Trouble::Disk),
    }
}

/// Why writes are refused when so many bytes are free on the disk, if they are:
/// there are fewer than there must be, and then until there are clearly more; or
/// fewer than the tree may need besides, and then until it has caught up.
fn disk_trouble(free: u64, least: u64, needed: u64, below_least: &mut bool) -> Option<String> {
    let clearly_more = least.saturating_add(least / 8);
    *below_least = free < least || (*below_least && free < clearly_more);
    if *below_least {
        Some(format!(
            "only {free} bytes are free on the disk, and disk-free-min is {least}; writes are taken again once there are {clearly_more}"
        ))
    } else if free < least.saturating_add(needed) {
        Some(format!(
            "only {free} bytes are free on the disk, and the tree may need {needed} to take over what is in the log; writes are taken again once it has, or there are more"
        ))
    } else {
        None
    }
}

/// By how much a tree of `used` bytes may grow when it takes over `lag` bytes of
/// the log: a small change rewrites a page, but no page is written twice.
fn tree_growth(lag: u64, used: u64) -> u64 {
    let rows = lag.saturating_mul(2);
    rows.saturating_add(used.min(lag.saturating_mul(6)))
}

/// Bytes that this process may still use of the file system under `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero statvfs is a valid value of it.
    let mut stat = unsafe { std::mem::zeroed::<libc::statvfs>() };
    // SAFETY: the path ends in NUL, and the struct is ours to fill.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
        return None;
    }
    Some(stat.f_bavail as u64 * stat.f_frsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_are_held_up_more_and_more_between_the_limits() {
        assert_eq!(slow_us(100, 100, 200), 0);
        assert_eq!(slow_us(150, 100, 200), MAX_SLOW_US / 2);
        assert_eq!(slow_us(900, 100, 200), MAX_SLOW_US);
        assert_eq!(slow_us(900, 0, 200), 0);
    }

    #[test]
    fn the_tree_grows_by_what_it_takes_over_and_by_what_it_rewrites() {
        assert_eq!(tree_growth(0, 1 << 30), 0);
        assert_eq!(tree_growth(10, 0), 20);
        assert_eq!(tree_growth(10, 5), 25);
        assert_eq!(tree_growth(10, 1 << 30), 80);
    }

    #[test]
    fn what_the_tree_may_need_is_no_obstacle_once_it_has_caught_up() {
        let mut below = false;
        let mut trouble = |free, needed| disk_trouble(free, 64, needed, &mut below);
        assert!(trouble(70, 10).is_some_and(|why| why.contains("may need 10")));
        assert_eq!(trouble(70, 0), None);
        // But what has been too little must be clearly more.
        assert!(trouble(60, 0).is_some_and(|why| why.contains("are 72")));
        assert!(trouble(71, 0).is_some());
        assert_eq!(trouble(72, 0), None);
        assert_eq!(trouble(71, 0), None);
    }

    #[test]
    fn a_disk_has_some_room() {
        assert!(free_bytes(Path::new("/")).is_some());
        assert_eq!(free_bytes(Path::new("/no/such/place")), None);
    }
}
