//! Log and tree of a server that has them, and what their users have to agree
//! on: whose turn it is to put a state into the tree, and what of the log must
//! stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use redoubt_persistence::disk::FaultSwitch;
use redoubt_persistence::log::Log;
use redoubt_persistence::tree::{Meta, Snapshot, Tree, TreeError, TreeStats};

use crate::runtime::checkpoint::Control;

/// Log and tree.
pub struct Storage {
    /// The log.
    pub log: Arc<Log>,
    /// The tree.
    pub tree: SharedTree,
    /// Makes the log's disk fail, for tests (DEBUG STORAGE).
    pub faults: Arc<FaultSwitch>,
    /// Held by a checkpoint, by a full sync that puts another tree in place of
    /// this one, and while slots change hands: their writes wait, and syncs are
    /// slow beside a checkpoint's.
    pub tree_turn: Turn,
    /// How many wait for that turn since the tree's next state is to be another.
    turn_wanted: AtomicUsize,
    /// How many would like it soon.
    turn_wished: AtomicUsize,
    /// How the thread that makes checkpoints is told what to do.
    pub checkpoints: Control,
    holds: Mutex<Vec<Arc<AtomicU64>>>,
    /// See [`Storage::is_kept`].
    kept: AtomicBool,
    /// See [`Storage::is_whole`].
    whole: AtomicBool,
    /// See [`Storage::is_sent`].
    sent: AtomicBool,
}

impl Storage {
    /// Those of a data directory.
    pub fn new(log: Log, tree: Tree, faults: Arc<FaultSwitch>) -> Storage {
        let storage = Storage::scratch(log, tree, faults);
        storage.set_kept();
        storage.set_whole();
        storage
    }

    /// Those that a pure cache begins while it runs, and does not keep.
    pub fn scratch(log: Log, tree: Tree, faults: Arc<FaultSwitch>) -> Storage {
        Storage {
            log: Arc::new(log),
            tree: SharedTree(RwLock::new(Arc::new(tree))),
            faults,
            tree_turn: Turn::default(),
            turn_wanted: AtomicUsize::new(0),
            turn_wished: AtomicUsize::new(0),
            checkpoints: Control::default(),
            holds: Mutex::new(Vec::new()),
            kept: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            sent: AtomicBool::new(false),
        }
    }

    /// Whether they outlast the process.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// From now on they do.
    pub fn set_kept(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Whether log and tree together have everything: what there was before the
    /// log began comes with the first checkpoint.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// From now on they have.
    pub fn set_whole(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Whether a full sync has ever put its tree in place of what was here. So
    /// log and tree count, even if there is nothing in them.
    pub fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// From now on one has.
    pub fn set_sent(&self) {
        self.sent.store(true, Ordering::Release);
    }

    /// Waits for the turn to change the tree as a whole; a checkpoint that has
    /// not been committed comes to nothing.
    pub fn take_turn(&self) -> RwLockWriteGuard<'_, ()> {
        let _wish = TurnWish::new(&self.turn_wanted);
        self.tree_turn.take()
    }

    /// Has a checkpoint that waits for replicas give way, as long as the wish
    /// lives; one that need not wait is committed.
    pub fn wish_for_turn(&self) -> TurnWish<'_> {
        TurnWish::new(&self.turn_wished)
    }

    /// Whether somebody waits for the turn, whose state is to be the next.
    pub fn is_turn_wanted(&self) -> bool {
        self.turn_wanted.load(Ordering::Acquire) != 0
    }

    /// Whether somebody would like the turn soon.
    pub fn is_turn_wished(&self) -> bool {
        self.turn_wished.load(Ordering::Acquire) != 0
    }

    /// Keeps the log from being trimmed above an offset, for as long as the
    /// hold lives (I5).
    pub fn hold_log(&self, from: u64) -> LogHold {
        let offset = Arc::new(AtomicU64::new(from));
        self.holds.lock().push(offset.clone());
        LogHold(offset)
    }

    /// The lowest offset that is held.
    pub fn held_log(&self) -> u64 {
        let mut holds = self.holds.lock();
        holds.retain(|offset| Arc::strong_count(offset) > 1);
        let offsets = holds.iter().map(|offset| offset.load(Ordering::Acquire));
        offsets.min().unwrap_or(u64::MAX)
    }
}

/// The turn to change the tree, or to keep it from being changed: the latter
/// several may have at once, since each of two nodes that give slots to each
/// other waits for the other to have its turn for both.
#[derive(Default)]
pub struct Turn {
    lock: RwLock<()>,
    /// When somebody got a share that nobody else had one of.
    shared_since: Mutex<Option<Instant>>,
}

/// For how long after the first one more may get a share: who waits to change
/// the tree has its turn in the end.
const SHARING: Duration = Duration::from_secs(10);

impl Turn {
    /// Waits until nobody else has it, nor a share of it.
    pub fn take(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write()
    }

    /// A share of it, unless somebody has it, or has waited for it for long.
    pub fn try_share(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let mut since = self.shared_since.lock();
        // Nobody has a share if it could be had whole.
        let first = self.lock.try_write().is_some();
        if first {
            *since = Some(Instant::now());
        }
        match since.is_some_and(|since| since.elapsed() < SHARING) {
            // Also past somebody who waits.
            true => self.lock.try_read_recursive(),
            false => None,
        }
    }
}

/// See [`Storage::wish_for_turn`].
pub struct TurnWish<'s>(&'s AtomicUsize);

impl<'s> TurnWish<'s> {
    fn new(count: &'s AtomicUsize) -> TurnWish<'s> {
        count.fetch_add(1, Ordering::AcqRel);
        TurnWish(count)
    }
}

impl Drop for TurnWish<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Keeps the log from being trimmed above an offset.
pub struct LogHold(Arc<AtomicU64>);

impl LogHold {
    /// Moves it along.
    pub fn move_to(&self, offset: u64) {
        self.0.store(offset, Ordering::Release);
    }
}

/// The tree; a full sync puts another one in its place.
pub struct SharedTree(RwLock<Arc<Tree>>);

impl SharedTree {
    /// The tree as of now.
    pub fn get(&self) -> Arc<Tree> {
        self.0.read().clone()
    }

    /// Puts another tree in place. Called with all stripes locked.
    pub fn set(&self, tree: Arc<Tree>) {
        *self.0.write() = tree;
    }

    /// As [`Tree::snapshot`].
    pub fn snapshot(&self) -> Result<Snapshot, TreeError> {
        self.get().snapshot()
    }

    /// As [`Tree::meta`].
    pub fn meta(&self) -> Result<Meta, TreeError> {
        self.get().meta()
    }

    /// As [`Tree::stats`].
    pub fn stats(&self) -> Result<TreeStats, TreeError> {
        self.get().stats()
    }

    /// As [`Tree::release_memory`].
    pub fn release_memory(&self) -> Result<bool, TreeError> {
        self.get().release_memory()
    }

    /// As [`Tree::failure`].
    pub fn failure(&self) -> Option<String> {
        self.get().failure().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_share_the_turn_and_who_changes_the_tree_has_it_alone() {
        let turn = Turn::default();
        let one = turn.try_share();
        let other = turn.try_share();
        assert!(one.is_some() && other.is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drop(turn.take()));
            while turn.lock.try_read().is_some() {
                std::thread::yield_now();
            }
            // Also past who waits, but not for ever.
            assert!(turn.try_share().is_some());
            *turn.shared_since.lock() = Instant::now().checked_sub(SHARING);
            assert!(turn.try_share().is_none());
            drop((one, other));
            waits.join().expect("it has had its turn");
        });
        let whole = turn.take();
        assert!(turn.try_share().is_none());
        drop(whole);
        assert!(turn.try_share().is_some());
    }
}
