//! A full sync on the replica's side: the primary's RDB file becomes another
//! tree beside ours, sorted batch by batch; when it is complete, and not
//! before, it takes the place of ours in one step. Memory: a batch. A transfer
//! that breaks leaves everything as it was.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redoubt_cluster::replication::history::{History, Position};
use redoubt_cluster::slots::Slot;
use redoubt_persistence::log::{Offset, Term, UNKNOWN_DB};
use redoubt_persistence::rdb::file::{FileReader, KeyRecord, ReadOptions, Record};
use redoubt_persistence::rdb::{Limits, RdbError, value_type};
use redoubt_persistence::tree::{Meta, Tree, TreeError, TreeOptions};

use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::Held;
use crate::keyspace::{DbMap, codec};
use crate::replication::identity::{INCOMING, remove_dir};
use crate::replication::spare::Unsettled;
use crate::runtime::import::put_library;
use crate::runtime::recovery::{LIBRARIES, encode_map, encode_sent, read_libraries};
use crate::scripting::library::Libraries;
use crate::state::{Server, Storage};

/// Bytes of keys and values that are sorted and written at a time.
const BATCH_BYTES: usize = 32 << 20;
/// How long commands may hold up the change from one tree to the other, in
/// one attempt.
const PATIENCE: Duration = Duration::from_millis(500);

/// A key to be written.
struct Row {
    db: u32,
    slot: u16,
    key: Box<[u8]>,
    expire_at_ms: Option<i64>,
    payload: Box<[u8]>,
}

/// A tree that is complete, but in nobody's use. It goes with its directory
/// unless it takes the place of ours.
pub struct Incoming {
    tree: Tree,
    dir: PathBuf,
    /// Behind the tree, which is closed first.
    abandoned: Abandoned,
    /// Database selected at the beginning of the stream behind it.
    pub selected_db: u32,
    /// The libraries of functions.
    libraries: Libraries,
    /// The primary's slots that move by hand.
    pub open_slots: Vec<u8>,
    /// How many keys it has.
    pub keys: u64,
}

/// A directory that goes away unless it is taken out.
struct Abandoned(Option<PathBuf>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take()
            && let Err(error) = remove_dir(&dir)
        {
            tracing::warn!("can't remove {}: {error}", dir.display());
        }
    }
}

/// Loads an RDB file into a tree of its own, to the last byte of the file.
pub fn load(server: &Server, input: impl Read) -> Result<Incoming, String> {
    let parent = parent_of(server);
    let dir = (0..u32::MAX)
        .map(|number| parent.join(format!("{INCOMING}{number}")))
        .find(|dir| !dir.exists())
        .ok_or("no name is left for another tree")?;
    let abandoned = Abandoned(Some(dir.clone()));
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let tree = Tree::open(&dir, TreeOptions::default()).map_err(|e| text(&e))?;
    let mut incoming = Incoming {
        tree,
        dir,
        abandoned,
        selected_db: 0,
        open_slots: Vec::new(),
        libraries: Libraries::default(),
        keys: 0,
    };
    let options = ReadOptions {
        limits: Limits::default(),
        ..ReadOptions::default()
    };
    let mut file = FileReader::new(input, options).map_err(|e| text(&e))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut libraries = Vec::new();
    loop {
        match file.next_record().map_err(|e| text(&e))? {
            Record::Aux { name, value } if name == b"repl-stream-db" => {
                let db = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                incoming.selected_db = db.unwrap_or(0);
            }
            Record::Aux { name, value } if name == b"cluster-slot-states" => {
                incoming.open_slots = value.to_vec();
            }
            Record::Key(key) => {
                if key.db >= server.keyspace.databases() {
                    return Err(format!("database {} is beyond `databases`", key.db));
                }
                let Some(payload) = row_payload(&key).map_err(|e| text(&e))? else {
                    continue;
                };
                bytes += key.key.len() + payload.len() + size_of::<Row>();
                rows.push(Row {
                    db: key.db,
                    slot: Slot::of_key(key.key).number(),
                    key: key.key.into(),
                    expire_at_ms: key.expire_at_ms,
                    payload: payload.into(),
                });
            }
            Record::Function(source) => put_library(&mut libraries, source),
            Record::Eof(_) => break,
            _ => {}
        }
        if bytes >= BATCH_BYTES {
            incoming.write(&mut rows)?;
            bytes = 0;
        }
    }
    incoming.write(&mut rows)?;
    incoming.libraries = read_libraries(server, &libraries)
        .map_err(|error| format!("a function library: {error}"))?;
    Ok(incoming)
}

/// What the tree keeps of a key: its value, as it came if this server could
/// have written it so. Nothing for an empty collection, which is no key. The
/// value is validated whole (I9).
fn row_payload(key: &KeyRecord<'_>) -> Result<Option<Vec<u8>>, RdbError> {
    let object = match key.decode(Limits::default()) {
        Ok(object) => object,
        Err(RdbError::Empty) => return Ok(None),
        Err(error) => return Err(error),
    };
    if key.payload[0] <= value_type::STREAM_LISTPACKS_2 {
        return Ok(Some(key.payload.to_vec()));
    }
    let entry = Entry::new(key.key, codec::value_of(object), None);
    let mut payload = Vec::new();
    codec::encode_payload(entry.value(), &mut payload);
    Ok(Some(payload))
}

impl Incoming {
    fn write(&mut self, rows: &mut Vec<Row>) -> Result<(), String> {
        let text = |error: TreeError| error.to_string();
        rows.sort_unstable_by(|a, b| (a.db, a.slot, &a.key).cmp(&(b.db, b.slot, &b.key)));
        let mut batch = self.tree.begin().map_err(text)?;
        for row in rows.iter() {
            batch
                .put(row.db, row.slot, &row.key, row.expire_at_ms, &row.payload)
                .map_err(text)?;
        }
        self.keys += rows.len() as u64;
        rows.clear();
        batch.commit(&Meta::default()).map_err(text)
    }

    /// Notes what it is as of; gives how many keys each database has.
    fn finish(
        &self,
        end: Offset,
        term: Term,
        position: Position,
        map: &DbMap,
    ) -> Result<Vec<(u32, u64)>, TreeError> {
        let mut meta = Meta {
            offset: end.0,
            term: term.0,
            selected_db: self.selected_db,
            replication_id: position.id.to_string(),
            ..Meta::default()
        };
        meta.extra.push(encode_map(map));
        let libraries = self.libraries.encode();
        meta.extra.push((LIBRARIES.to_string(), libraries));
        meta.extra.push(encode_sent());
        self.tree.begin()?.commit(&meta)?;
        Ok(self.tree.meta()?.key_counts)
    }
}

/// Where our tree lies.
fn parent_of(server: &Server) -> PathBuf {
    let directory = server.replication.directory.get();
    directory.map_or_else(super::scratch::directory, Clone::clone)
}

/// Puts a loaded tree, which is as of `position`, in place of ours, with all
/// that goes with it. `generation` is that of the role under which it was
/// loaded.
pub fn swap(
    server: &'static Server,
    storage: &'static Storage,
    mut incoming: Incoming,
    position: Position,
    generation: u64,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let replication = &server.replication;
    let turn = storage.take_turn();
    storage
        .log
        .sync_to(storage.log.end())
        .map_err(|e| text(&e))?;
    let Some(mut held) = lock_all(server, generation) else {
        return Err("the role has changed".into());
    };
    let parent = parent_of(server);
    if incoming.dir.parent() != Some(&parent) {
        return Err("log and tree have moved".into());
    }
    let end = storage.log.end();
    storage.log.sync_to(end).map_err(|e| text(&e))?;
    let map = DbMap {
        physical: (0..server.keyspace.databases()).collect(),
        retired: Vec::new(),
    };
    let selected_db = incoming.selected_db;
    let counts = incoming
        .finish(end, storage.log.term(), position, &map)
        .map_err(|e| text(&e))?;
    let name = incoming.dir.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let old = parent.join(&replication.identity().tree);
    // Those who follow us have the old history.
    replication.replicas.disconnect();
    // From here on a restart finds the new tree, before this the old one.
    let changed = replication.change_identity(|identity| {
        identity.history = History::new(position.id);
        identity.base = position.offset.wrapping_sub(end.0) as i64;
        identity.begin = end.0;
        identity.void.clear();
        identity.astray = false;
        identity.tree = name;
    });
    changed.map_err(|error| unchanged(&error))?;
    incoming.abandoned.0 = None;
    let tree = Arc::new(incoming.tree);
    let keyspace = &server.keyspace;
    keyspace.replace(&mut held, tree.clone(), map, &counts);
    *server.scripting.libraries.write() = incoming.libraries;
    storage.tree.set(tree);
    storage.set_whole();
    storage.set_sent();
    server.applied.store(end.0, Ordering::Relaxed);
    storage.log.append_raw_selected(b"", selected_db);
    server.watches.touch_all();
    // Nothing of the new history is in the log yet, so none goes to those who
    // follow the old one.
    replication.replicas.disconnect();
    drop(held);
    server.tracking.flush(server);
    drop(turn);
    drop(Abandoned(Some(old)));
    warm_again(server);
    Ok(())
}

/// What to say of a replication state that could not be written. Ends the
/// process if it may name the new tree all the same.
fn unchanged(error: &std::io::Error) -> String {
    if error.get_ref().is_some_and(|inner| inner.is::<Unsettled>()) {
        tracing::error!("The replication state may be lost: {error}. A restart is needed");
        std::process::exit(1);
    }
    error.to_string()
}

/// Locks all stripes, unless the role has changed.
pub(super) fn lock_all(server: &'static Server, generation: u64) -> Option<Held<'static>> {
    let is_current = || server.replication.generation() == generation;
    while is_current() {
        if let Some(held) = server.keyspace.try_lock_all(PATIENCE) {
            return is_current().then_some(held);
        }
    }
    None
}

/// Brings what is in the new tree into RAM, in the background.
pub(super) fn warm_again(server: &'static Server) {
    static NEVER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let spawned = std::thread::Builder::new()
        .name("warming".into())
        .spawn(move || crate::runtime::background::warm(server, &NEVER));
    if let Err(error) = spawned {
        tracing::warn!("no thread to bring keys into memory: {error}");
    }
}

/// The database selected at the log's end, as far as it is known.
pub fn selected_db(storage: &Storage) -> u32 {
    match storage.log.position() {
        (_, UNKNOWN_DB) => 0,
        (_, db) => db,
    }
}
