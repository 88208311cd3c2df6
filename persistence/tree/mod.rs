//! The tree: all keys as of one offset of the log, in LMDB, with that offset in the same
//! transaction (I4).
//!
//! It owns the layout of rows ([`row`]), their checksums, and the life of LMDB transactions. It
//! does not know what a payload means (an RDB type byte and body, to it only bytes), nor the log.
//!
//! One writer ([`Batch`]), any number of readers ([`Snapshot`]), which neither wait for it nor for
//! each other. An old snapshot keeps all pages freed since from being used again: hold none for
//! long.
//!
//! LMDB keeps the pages of a write transaction in memory that it never gives back. How many is
//! bounded at compile time, by heed's feature `mdb_idl_logn_*` in Cargo.toml; the rest go to the
//! file before the commit.

mod batch;
mod environment;
mod error;
mod length;
mod meta;
mod pieces;
mod row;
mod snapshot;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use heed::{RoTxn, WithoutTls};
use parking_lot::Mutex;

use environment::{Environment, Store, Table, Tables};

pub use batch::Batch;
pub use error::TreeError;
pub use meta::{FORMAT_VERSION, Meta};
pub use pieces::{Piece, PieceKey, Pieces};
pub use row::{CHUNK_BYTES, MAX_SHORT_KEY};
pub use snapshot::{RowHead, ScanCursor, ScanRow, Snapshot};

/// How to open a tree.
#[derive(Debug, Clone)]
pub struct TreeOptions {
    /// Address space reserved for the file, in bytes: the limit of its growth. It costs no memory
    /// and no disk.
    pub map_size: usize,
    /// Whether the kernel reads ahead: good while the file fits in memory, wasteful beyond.
    pub read_ahead: bool,
    /// The most snapshots at one time.
    pub max_readers: u32,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions {
            map_size: 1 << 40,
            read_ahead: true,
            max_readers: 4096,
        }
    }
}

/// Sizes, for INFO and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStats {
    /// Rows with a short key.
    pub short_rows: u64,
    /// Rows with a long key.
    pub long_rows: u64,
    /// Chunks of large values.
    pub chunks: u64,
    /// Bytes of the pages in use by rows and chunks.
    pub used_bytes: u64,
    /// Bytes of the data file.
    pub file_bytes: u64,
    /// Snapshots open, and slots that closed ones left for reuse.
    pub reader_slots: u32,
}

/// An open tree. Closed when it and all its snapshots are dropped.
pub struct Tree {
    environment: Arc<Environment>,
    commit_seq: AtomicU64,
    has_batch: AtomicBool,
    failure: OnceLock<String>,
    committed: Mutex<Committed>,
}

/// What the next batch starts from.
#[derive(Clone, Default)]
struct Committed {
    meta: Meta,
    next_value_id: u64,
}

impl Tree {
    /// Opens the tree in `dir`, which is made if it is not there. Takes milliseconds whatever the
    /// tree's size.
    pub fn open(dir: &Path, options: TreeOptions) -> Result<Tree, TreeError> {
        let (environment, missing) = Environment::open(dir, options)?;
        let tree = Tree::with_environment(Arc::new(environment))?;
        if let Some(missing) = missing {
            let whole = tree.snapshot().and_then(|snapshot| snapshot.check_all());
            whole.map_err(|error| missing.error(error))?;
        }
        Ok(tree)
    }

    fn with_environment(environment: Arc<Environment>) -> Result<Tree, TreeError> {
        let store = environment.store()?;
        let txn = store.env.read_txn()?;
        let committed = read_meta(&txn, &store.tables)?;
        let commit_seq = AtomicU64::new(txn.id() as u64);
        drop(txn);
        Ok(Tree {
            environment,
            commit_seq,
            has_batch: AtomicBool::new(false),
            failure: OnceLock::new(),
            committed: Mutex::new(committed),
        })
    }

    /// Another handle of the same tree, for who goes by the handle to see that
    /// what it had read is of no use any more. Only one of them is written to.
    pub fn again(&self) -> Result<Tree, TreeError> {
        match self.failure() {
            Some(failure) => Err(TreeError::Poisoned(failure.to_owned())),
            None => Tree::with_environment(self.environment.clone()),
        }
    }

    /// The metadata of the last commit.
    pub fn meta(&self) -> Result<Meta, TreeError> {
        self.snapshot()?.meta()
    }

    /// Whether nothing was ever committed.
    pub fn is_unwritten(&self) -> Result<bool, TreeError> {
        let store = self.environment.store()?;
        let txn = store.env.read_txn()?;
        Ok(store.tables.meta.get(&txn, meta::STATE_KEY)?.is_none())
    }

    /// Grows with each commit. A snapshot whose [`Snapshot::commit_seq`] is not below this sees
    /// all that was committed when it was read.
    pub fn commit_seq(&self) -> u64 {
        self.commit_seq.load(Ordering::Acquire)
    }

    /// Starts the one write transaction. It must be finished on the thread that began it.
    pub fn begin(&self) -> Result<Batch<'_>, TreeError> {
        if let Some(failure) = self.failure() {
            return Err(TreeError::Poisoned(failure.to_owned()));
        }
        Batch::begin(self)
    }

    /// A consistent view of the last commit, which later ones do not change.
    pub fn snapshot(&self) -> Result<Snapshot, TreeError> {
        Snapshot::new(self.environment.store()?)
    }

    /// Gives back the memory that LMDB keeps from its write transactions, if nobody uses the tree
    /// at the moment: whether it did. It takes as long as to open the tree.
    pub fn release_memory(&self) -> Result<bool, TreeError> {
        // What the disk holds after a failed commit is for the next start to find out.
        Ok(self.failure().is_none() && self.environment.renew()?)
    }

    /// Why the tree takes no more writes, if a commit has failed (I6).
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Bytes of the data file. It never shrinks; freed pages are used again.
    pub fn disk_size(&self) -> Result<u64, TreeError> {
        Ok(self.environment.store()?.env.real_disk_size()?)
    }

    /// Sizes as of the last commit.
    pub fn stats(&self) -> Result<TreeStats, TreeError> {
        let store = self.environment.store()?;
        let Tables {
            keys, long, chunks, ..
        } = store.tables;
        let txn = store.env.read_txn()?;
        let mut used_bytes = 0;
        let mut entries = |table: Table| -> Result<u64, TreeError> {
            let stat = table.stat(&txn)?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            used_bytes += pages as u64 * u64::from(stat.page_size);
            Ok(stat.entries as u64)
        };
        Ok(TreeStats {
            short_rows: entries(keys)?,
            long_rows: entries(long)?,
            chunks: entries(chunks)?,
            used_bytes,
            file_bytes: self.disk_size()?,
            reader_slots: store.env.info().number_of_readers,
        })
    }
}

/// The metadata that `txn` sees; that of an empty tree if nothing was ever committed.
fn read_meta(txn: &RoTxn<'_, WithoutTls>, tables: &Tables) -> Result<Committed, TreeError> {
    let Some(state) = tables.meta.get(txn, meta::STATE_KEY)? else {
        if tables.keys.is_empty(txn)? && tables.long.is_empty(txn)? {
            return Ok(Committed::default());
        }
        return Err(TreeError::CorruptMeta("rows without metadata"));
    };
    let extra = tables.meta.get(txn, meta::EXTRA_KEY)?;
    let (meta, next_value_id) = meta::decode(state, extra)?;
    Ok(Committed {
        meta,
        next_value_id,
    })
}
