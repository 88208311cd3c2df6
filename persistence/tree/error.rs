//! What can go wrong with the tree, each with its cause.

use std::io;
use std::path::PathBuf;

/// An error of the tree. None of them is retried inside the tree: the caller decides.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or directory of the tree can't be made, opened or locked.
    #[error("tree at {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process, or another `Tree` in this one, has the directory open.
    #[error("tree at {} is in use by another process or instance", .0.display())]
    InUse(PathBuf),
    /// The tree was written by a version of the format that this build does not know.
    #[error("tree has format version {found}, this build reads version {known}")]
    FormatVersion {
        /// The version in the file.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// A row failed its checksum or contradicts its own header.
    #[error("corrupt row in database {db}, slot {slot}, key {}: {what}", .key.escape_ascii())]
    Corrupt {
        /// Redis database index.
        db: u16,
        /// Hash slot.
        slot: u16,
        /// The Redis key; the SHA-256 of it when it is a long key whose row is unreadable.
        key: Vec<u8>,
        /// What was found wrong.
        what: &'static str,
    },
    /// The file ends before the pages that it says it has, and something is gone.
    #[error(
        "{} is damaged: it has {len} bytes where its last page needs {needed}: {what}. To repair, restore this data directory from a replica or a backup",
        .path.display()
    )]
    Truncated {
        /// The data file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length that its metadata speaks of.
        needed: u64,
        /// What can't be read.
        what: String,
    },
    /// The row that holds the applied offset and its companions is unreadable.
    #[error("corrupt tree metadata: {0}")]
    CorruptMeta(&'static str),
    /// LMDB or the system under it refused.
    #[error("tree storage: {0}")]
    Storage(#[from] heed::Error),
    /// Opened anew, the tree was another one than before.
    #[error("the tree's file was exchanged or shortened while it was in use")]
    Exchanged,
    /// An earlier commit failed: what the disk holds is not known until the tree is opened anew.
    #[error("tree takes no writes since a commit failed: {0}")]
    Poisoned(String),
    /// An earlier operation of this batch failed, which aborted it.
    #[error("tree batch was aborted by an earlier error")]
    BatchAborted,
    /// Pieces of a value were given that do not belong to what the tree has of it.
    #[error("the pieces of key {} do not fit what the tree has: {what}", .key.escape_ascii())]
    Pieces {
        /// The Redis key.
        key: Vec<u8>,
        /// In what way.
        what: &'static str,
    },
    /// A batch is open already; there is one writer.
    #[error("tree already has an open batch")]
    WriterBusy,
    /// Database indexes end at 65535.
    #[error("database index {0} is beyond 65535")]
    DatabaseIndex(u32),
}

impl TreeError {
    /// The same, with the number that clients know the database by.
    pub fn in_database(mut self, number: u32) -> TreeError {
        if let TreeError::Corrupt { db, .. } = &mut self {
            *db = u16::try_from(number).unwrap_or(*db);
        }
        self
    }

    /// Whether the disk or the map has no room left.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            TreeError::Io { source, .. } | TreeError::Storage(heed::Error::Io(source)) => {
                source.kind() == io::ErrorKind::StorageFull
            }
            TreeError::Storage(heed::Error::Mdb(error)) => *error == heed::MdbError::MapFull,
            _ => false,
        }
    }
}
