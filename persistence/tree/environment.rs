//! The LMDB environment behind a tree: how it is opened, and opened anew.
//!
//! LMDB gives back the memory of its write transactions only when its environment is closed. So
//! one that has written much, and that nobody uses at the moment, is closed and opened again; who
//! asks for it meanwhile waits. Nothing of that can be seen but the memory.

use std::fs::{self, File, TryLockError};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use parking_lot::RwLock;

use super::length::{self, Missing};
use super::{TreeError, TreeOptions};

pub type Table = Database<'static, Bytes, Bytes>;

/// One opening of the environment, with its databases. Transactions keep it.
pub struct Store {
    pub env: Env<WithoutTls>,
    pub tables: Tables,
    /// Locked until the last transaction is over.
    _directory: Arc<Directory>,
}

#[derive(Clone, Copy)]
pub struct Tables {
    pub keys: Table,
    pub long: Table,
    pub chunks: Table,
    pub meta: Table,
}

/// The environment in its directory. Closed when it and all its stores are dropped.
pub struct Environment {
    place: RwLock<Place>,
    options: TreeOptions,
    directory: Arc<Directory>,
}

struct Place {
    /// `None` while it could not be opened anew.
    store: Option<Arc<Store>>,
    /// The last commit when it was closed.
    commit: usize,
    /// The file's length then, in bytes.
    len: u64,
}

/// The directory, and the lock that keeps others out.
struct Directory {
    /// Names it wherever it is moved to.
    file: File,
    _lock: File,
}

impl Environment {
    /// Opens the environment in `dir`, which is made if it is not there; and says so if its file
    /// was shorter than it must be, in which case everything in it has to be read once.
    pub fn open(
        dir: &Path,
        options: TreeOptions,
    ) -> Result<(Environment, Option<Missing>), TreeError> {
        let io_at = |source| TreeError::Io {
            path: dir.to_path_buf(),
            source,
        };
        fs::create_dir_all(dir).map_err(io_at)?;
        let lock = lock_directory(dir)?;
        let file = File::open(dir).map_err(io_at)?;
        let directory = Arc::new(Directory { file, _lock: lock });
        let (store, missing) = open_store(dir, &directory, &options)?;
        let place = Place {
            store: Some(Arc::new(store)),
            commit: 0,
            len: 0,
        };
        let environment = Environment {
            place: RwLock::new(place),
            options,
            directory,
        };
        Ok((environment, missing))
    }

    /// The environment, for a transaction or a look.
    pub fn store(&self) -> Result<Arc<Store>, TreeError> {
        if let Some(store) = &self.place.read().store {
            return Ok(store.clone());
        }
        self.fill(&mut self.place.write())
    }

    /// Closes the environment and opens it anew, unless it is in use; whether it did. After an
    /// error the next who needs it tries to open it.
    pub fn renew(&self) -> Result<bool, TreeError> {
        let mut place = self.place.write();
        let Some(store) = place.store.take() else {
            return self.fill(&mut place).map(|_| true);
        };
        let store = match Arc::try_unwrap(store) {
            Ok(store) => store,
            Err(used) => {
                place.store = Some(used);
                return Ok(false);
            }
        };
        let may_open_again = self.directory.path().is_ok_and(|path| {
            // Where it was moved to, another may be known by that name for a while.
            path == store.env.path() || heed::env_closing_event(&path).is_none()
        });
        if !may_open_again {
            place.store = Some(Arc::new(store));
            return Ok(false);
        }
        place.len = match store.env.real_disk_size() {
            Ok(len) => len,
            Err(error) => {
                place.store = Some(Arc::new(store));
                return Err(error.into());
            }
        };
        place.commit = store.env.info().last_txn_id;
        store.env.prepare_for_closing().wait();
        self.fill(&mut place).map(|_| true)
    }

    fn fill(&self, place: &mut Place) -> Result<Arc<Store>, TreeError> {
        if let Some(store) = &place.store {
            return Ok(store.clone());
        }
        let dir = self.directory.path()?;
        if length::of_file(&dir)? < place.len {
            return Err(TreeError::Exchanged);
        }
        // What a file may rightly miss it missed before.
        let (store, _) = open_store(&dir, &self.directory, &self.options)?;
        if store.env.info().last_txn_id != place.commit {
            return Err(TreeError::Exchanged);
        }
        Ok(place.store.insert(Arc::new(store)).clone())
    }
}

impl Directory {
    /// Where it is now.
    fn path(&self) -> Result<PathBuf, TreeError> {
        let link = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        link.canonicalize()
            .map_err(|source| TreeError::Io { path: link, source })
    }
}

/// Opens what is in `dir`, which nobody else has open.
fn open_store(
    dir: &Path,
    directory: &Arc<Directory>,
    options: &TreeOptions,
) -> Result<(Store, Option<Missing>), TreeError> {
    let mut env_options = EnvOpenOptions::new().read_txn_without_tls();
    env_options
        .map_size(options.map_size)
        .max_readers(options.max_readers)
        .max_dbs(8);
    if !options.read_ahead {
        // SAFETY: NO_READ_AHEAD only changes an madvise; it is none of the flags that give up
        // integrity or locking.
        unsafe { env_options.flags(EnvFlags::NO_READ_AHEAD) };
    }
    // SAFETY: the map stays valid as long as nobody else changes the file: the directory's lock
    // keeps out all that open it through this module, and nothing in it removes or truncates the
    // file.
    let env = unsafe { env_options.open(dir) }?;
    env.clear_stale_readers()?;
    let missing = length::complete(&env, dir)?;
    let tables = create_tables(&env).map_err(|error| match &missing {
        Some(missing) => missing.error(error),
        None => error,
    })?;
    let store = Store {
        env,
        tables,
        _directory: directory.clone(),
    };
    Ok((store, missing))
}

/// Takes the lock file of `dir`; it is free again when the file is dropped or the process ends.
fn lock_directory(dir: &Path) -> Result<File, TreeError> {
    let path: PathBuf = dir.join("tree.lock");
    let io_error = |source| TreeError::Io {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TreeError::InUse(dir.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn create_tables(env: &Env<WithoutTls>) -> Result<Tables, TreeError> {
    let txn = env.write_txn()?;
    let created = env.create_databases_and_commit(txn, |opener, txn| {
        let mut create = |name| opener.create_database::<Bytes, Bytes>(txn, Some(name));
        let tables = [
            create("keys")?,
            create("long")?,
            create("chunks")?,
            create("meta")?,
        ];
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
    })?;
    let [keys, long, chunks, meta] = created.unwrap_commit();
    Ok(Tables {
        keys,
        long,
        chunks,
        meta,
    })
}
