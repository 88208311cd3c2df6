//! From a data directory to a server that answers: lock, open the tree, open
//! the log, replay what the tree does not have yet.
//!
//! The tree opens in milliseconds whatever its size, and cold keys are read
//! from it on demand; so a start takes as long as the replay of the log's end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use redoubt_cluster::replication::history::History;
use redoubt_persistence::disk::{DirectoryLock, FaultyDisk};
use redoubt_persistence::log::{
    Log, LogError, LogOptions, LogReader, Offset, SyncPolicy, forget_before, is_there,
};
use redoubt_persistence::tree::{Meta, Tree, TreeOptions};

use super::accord::Directory;
use super::checkpoint;
use crate::cluster::Cluster;
use crate::commands::command::Command;
use crate::commands::error::CommandError;
use crate::commands::table::{Found, table};
use crate::config::{Config, id};
use crate::connection::client::Client;
use crate::connection::dispatch::{Request, call};
use crate::connection::session::Session;
use crate::eviction::needs_tree;
use crate::keyspace::DbMap;
use crate::keyspace::table::secret;
use crate::replication::identity::{Identity, TREE, settle_tree};
use crate::replication::new_id;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::resp::stream::{CommandStream, Part};
use crate::scripting::engine::Engine;
use crate::scripting::library::{Libraries, Policy};
use crate::state::{Server, Storage};

/// The name of the log's directory.
pub const LOG: &str = "log";
/// Its name where a file that is not ours has the usual one.
const OTHER_LOG: &str = "log.redoubt";
/// Bytes of the log that are replayed at a time.
const REPLAY_CHUNK: usize = 4 << 20;

/// Why a log can't be read any further.
pub(super) const NO_COMMAND: &str = "the log holds something that is no command";

/// An opened data directory.
pub struct Opened {
    /// Log and tree.
    pub storage: Storage,
    /// Its history, if it is not new.
    pub identity: Option<Identity>,
    /// What the tree says of itself.
    pub meta: Meta,
    /// Holds the directory for this process.
    pub lock: DirectoryLock,
}

/// The policy that `appendfsync` names.
pub fn sync_policy(config: &Config) -> SyncPolicy {
    match &*config.string(id("appendfsync")) {
        "always" => SyncPolicy::Always,
        "no" => SyncPolicy::No,
        _ => SyncPolicy::EverySec,
    }
}

/// Where the log is in the data directory `dir`. Its usual name may be taken by
/// a file: many have a server's output go to `log`.
pub fn log_directory(dir: &Path) -> PathBuf {
    let (usual, other) = (dir.join(LOG), dir.join(OTHER_LOG));
    match other.is_dir() || usual.is_file() {
        true => other,
        false => usual,
    }
}

/// Opens tree and log in `dir`. Errors are for the operator to read.
pub fn open(config: &Config, dir: &Path) -> Result<Opened, String> {
    let lock = DirectoryLock::acquire(dir).map_err(|e| e.to_string())?;
    let mut kept = settle_tree(dir)?;
    let tree_dir = dir.join(TREE);
    std::fs::create_dir_all(&tree_dir)
        .map_err(|e| format!("can't create {}: {e}", tree_dir.display()))?;
    let tree = Tree::open(&tree_dir, TreeOptions::default())
        .map_err(|e| format!("can't open the tree in {}: {e}", tree_dir.display()))?;
    let meta = tree
        .meta()
        .map_err(|e| format!("can't read the tree's state: {e}"))?;
    adopt_hash_key(&meta);
    let log_dir = log_directory(dir);
    let mut options = LogOptions {
        policy: sync_policy(config),
        verify_from: Offset(meta.offset),
        segment_bytes: config.integer(id("log-segment-size")).max(0) as u64,
        ..LogOptions::default()
    };
    let disk = FaultyDisk::default();
    let faults = disk.switch();
    if let Some(first) = decode_beginning(&meta) {
        forget_before(&disk, &log_dir, first)
            .map_err(|e| format!("can't remove a log that had failed: {e}"))?;
        options.first_segment = first;
    }
    let directory = Directory {
        dir,
        log_dir: &log_dir,
        tree: &tree,
        meta: &meta,
    };
    let failed = |e: LogError| format!("can't open the log in {}: {e}", log_dir.display());
    if kept.is_some() && !is_there(&disk, &log_dir).map_err(failed)? {
        kept = directory.without_log()?;
    }
    let (log, report) =
        Log::open(Arc::new(disk), &log_dir, Offset(meta.offset), options).map_err(failed)?;
    let identity = directory.agree(kept, &report)?;
    if report.dropped_bytes != 0 {
        tracing::warn!(
            bytes = report.dropped_bytes,
            "dropped an unfinished record at the log's end"
        );
    }
    Ok(Opened {
        storage: Storage::new(log, tree, faults),
        identity,
        meta,
        lock,
    })
}

/// Names under which the databases' numbers are kept in the tree.
const DB_MAP: &str = "databases";

/// The name under which the key of the tables' hash is kept in the tree.
const HASH_KEY: &str = "hash-key";

/// The key of the tables' hash as a blob for the tree. Large collections lie
/// there in the order of their tables: under another key all of one would have
/// to be written again with its first change.
pub fn encode_hash_key() -> (String, Vec<u8>) {
    let words = secret::key().map(u64::to_le_bytes);
    (HASH_KEY.into(), words.concat())
}

fn adopt_hash_key(meta: &Meta) {
    let Some((_, bytes)) = meta.extra.iter().find(|(name, _)| name == HASH_KEY) else {
        return;
    };
    let mut words = bytes.chunks_exact(8);
    let key = std::array::from_fn(|_| {
        let word = words.next().and_then(|word| word.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    });
    if bytes.len() == 32 && !secret::adopt(key) {
        tracing::debug!("the key of the tables' hash is in use, another than the tree's");
    }
}

/// The name under which the libraries of functions are kept in the tree.
pub const LIBRARIES: &str = "functions";

/// Takes over the libraries of functions that the tree holds.
fn load_libraries(server: &Server, meta: &Meta) -> Result<(), String> {
    match meta.extra.iter().find(|(name, _)| name == LIBRARIES) {
        Some((_, encoded)) => restore_libraries(server, encoded)
            .map_err(|e| format!("the tree's libraries of functions can't be read: {e}")),
        None => Ok(()),
    }
}

/// Puts these libraries of functions, encoded as in the tree, in place of all.
pub(super) fn restore_libraries(server: &Server, encoded: &[u8]) -> Result<(), String> {
    *server.scripting.libraries.write() = read_libraries(server, encoded)?;
    Ok(())
}

/// Libraries of functions, encoded as in the tree, each loaded once to see
/// that it can be.
pub(super) fn read_libraries(server: &Server, encoded: &[u8]) -> Result<Libraries, String> {
    let failed = |e: CommandError| e.to_string();
    let scripting = &server.scripting;
    let mut engine = Engine::take(scripting).map_err(failed)?;
    let libraries = Libraries::default().restore(&mut engine, encoded, Policy::Flush, false);
    engine.give_back(scripting);
    libraries.map_err(failed)
}

/// The databases' numbers as a blob for the tree.
pub fn encode_map(map: &DbMap) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    for numbers in [&map.physical, &map.retired] {
        bytes.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
        numbers
            .iter()
            .for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
    }
    (DB_MAP.to_string(), bytes)
}

/// Name under which the tree keeps the segment that a log begun anew starts with.
const BEGINNING: &str = "log-begins";

/// The first segment of a log that begins anew where the tree is, as a blob for
/// the tree: segments before it are a history that was given up.
pub fn encode_beginning(first_segment: u64) -> (String, Vec<u8>) {
    (BEGINNING.into(), first_segment.to_le_bytes().to_vec())
}

fn decode_beginning(meta: &Meta) -> Option<u64> {
    let (_, bytes) = meta.extra.iter().find(|(name, _)| name == BEGINNING)?;
    Some(u64::from_le_bytes(bytes.as_slice().try_into().ok()?))
}

/// Name under which a tree says that it comes from a full sync.
const SENT: &str = "sent";

/// That a full sync brought the tree or one before it, as a blob for the tree.
pub fn encode_sent() -> (String, Vec<u8>) {
    (SENT.into(), Vec::new())
}

fn is_sent(meta: &Meta) -> bool {
    meta.extra.iter().any(|(name, _)| name == SENT)
}

/// The databases' numbers that the tree's state holds; None in a tree that
/// was never written.
pub(super) fn decode_map(meta: &Meta) -> Option<DbMap> {
    let (_, bytes) = meta.extra.iter().find(|(name, _)| name == DB_MAP)?;
    let numbers: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|chunk| u32::from_le_bytes(chunk.try_into().expect("four bytes")))
        .collect();
    let count = *numbers.first()? as usize;
    let physical = numbers.get(1..1 + count)?.to_vec();
    let retired = numbers.get(2 + count..)?.to_vec();
    Some(DbMap { physical, retired })
}

/// Brings the keyspace to the state at the log's end. Returns how many
/// commands were replayed.
pub fn replay(server: &'static Server, meta: &Meta) -> Result<u64, String> {
    let Some(storage) = server.storage() else {
        return Ok(0);
    };
    check_databases(server.keyspace.databases(), meta)?;
    if is_sent(meta) {
        storage.set_sent();
    }
    server
        .keyspace
        .attach_tree(storage.tree.get(), decode_map(meta), &meta.key_counts);
    server.keyspace.start_tracking();
    load_libraries(server, meta)?;
    server.applied.store(meta.offset, Ordering::Relaxed);
    let mut replayer = Replayer::new(server, meta.selected_db);
    let parts = server.replication.identity();
    replayer.forgives = parts.astray || follows(server);
    for part in parts.valid(meta.offset, storage.log.end().0) {
        let mut passage = Passage::begin(&storage.log, part)?;
        while let Some(Offset(at)) = passage.go_on(|args| replayer.apply(args))? {
            if needs_tree(server, at)
                && checkpoint::in_replay(server, Offset(at), replayer.session.db)
            {
                needs_tree(server, at);
            }
        }
    }
    if replayer.forgave {
        diverge(server)?;
    }
    if server.replication.is_replica() {
        // The primary goes on from here, with this database selected.
        storage.log.append_raw_selected(b"", replayer.session.db);
    } else {
        storage.log.force_select_next();
    }
    Ok(replayer.commands)
}

/// Gives `take` all commands in a part of the log, which is whole commands.
pub(super) fn read_log(
    log: &Log,
    part: (u64, u64),
    mut take: impl FnMut(&[&[u8]]) -> Result<(), String>,
) -> Result<(), String> {
    let mut passage = Passage::begin(log, part)?;
    while passage.go_on(&mut take)?.is_some() {}
    Ok(())
}

/// A part of the log that is read piece by piece.
struct Passage {
    reader: LogReader,
    stream: CommandStream,
    /// What is no whole command yet.
    buffer: Vec<u8>,
    to: u64,
}

impl Passage {
    fn begin(log: &Log, (from, to): (u64, u64)) -> Result<Passage, String> {
        let reader = log.reader(Offset(from));
        Ok(Passage {
            reader: reader.map_err(|e| unreadable(Offset(from), e))?,
            stream: CommandStream::default(),
            buffer: Vec::new(),
            to,
        })
    }

    /// Gives `take` the commands of the next piece; gives the offset behind
    /// them, or None at the end.
    fn go_on(
        &mut self,
        mut take: impl FnMut(&[&[u8]]) -> Result<(), String>,
    ) -> Result<Option<Offset>, String> {
        let at = self.reader.offset();
        let left = self.to.saturating_sub(at.0);
        let most = usize::try_from(left).unwrap_or(REPLAY_CHUNK);
        let read = match left {
            0 => Ok(0),
            _ => self.reader.next(&mut self.buffer, most.min(REPLAY_CHUNK)),
        };
        if read.map_err(|e| unreadable(at, e))? == 0 {
            return match self.buffer.len() {
                0 => Ok(None),
                left => Err(format!(
                    "the log ends inside a command ({left} bytes left) at offset {}",
                    self.to
                )),
            };
        }
        let mut start = 0;
        let each = self
            .stream
            .each(&self.buffer, &mut start, |part| match part {
                Part::Command { args, .. } => take(args),
                Part::Filler(_) => Ok(()),
                Part::Garbled => Err(NO_COMMAND.to_owned()),
            });
        each?;
        self.buffer.drain(..start);
        let behind = self.reader.offset().0 - self.buffer.len() as u64;
        Ok(Some(Offset(behind)))
    }
}

fn unreadable(at: Offset, error: LogError) -> String {
    format!("can't read the log at offset {at}: {error}")
}

/// Whether the server was a replica when it ended, or is to be one.
fn follows(server: &Server) -> bool {
    let in_cluster = |cluster: &Cluster| cluster.read(|bus| bus.me().primary.is_some());
    server.replication.is_replica() || server.cluster.as_ref().is_some_and(in_cluster)
}

/// What is here is no state of the history that others have: full syncs are to
/// follow.
fn diverge(server: &Server) -> Result<(), String> {
    let own = server.replication.change_identity(|identity| {
        identity.history = History::new(new_id());
        identity.copy_of = None;
        identity.astray = true;
    });
    own.map_err(|error| format!("can't write the replication state: {error}"))
}

/// Refuses a number of databases under which keys of the tree would be out of
/// reach.
fn check_databases(databases: u32, meta: &Meta) -> Result<(), String> {
    let Some(map) = decode_map(meta) else {
        return Ok(());
    };
    let has_keys = |physical: &u32| {
        let mut counts = meta.key_counts.iter();
        counts.any(|(db, keys)| db == physical && *keys > 0)
    };
    match map.physical.iter().rposition(has_keys) {
        Some(last) if last >= databases as usize => Err(format!(
            "database {last} holds keys, but `databases` is {databases}: it must be at least {}",
            last + 1
        )),
        _ => Ok(()),
    }
}

/// Runs commands of a log, which log nothing themselves.
pub(super) struct Replayer {
    server: &'static Server,
    session: Session,
    reply: ReplyBuffer,
    commands: u64,
    /// What fails is left out: tree and log of who went astray may not lead to
    /// where it was logged, and a replica can be sent everything anew.
    forgives: bool,
    /// A command failed and was left out.
    forgave: bool,
}

impl Replayer {
    pub(super) fn new(server: &'static Server, selected_db: u32) -> Self {
        let client = Client::new("log".into(), "log".into(), -1, server.started_ms);
        let mut session = Session::new(Arc::new(client), true);
        session.replaying = true;
        if selected_db < server.keyspace.databases() {
            session.db = selected_db;
        }
        Replayer {
            server,
            session,
            reply: ReplyBuffer::new(Protocol::Resp2),
            commands: 0,
            forgives: false,
            forgave: false,
        }
    }

    /// Whether there is such a command.
    pub(super) fn knows(&self, args: &[&[u8]]) -> bool {
        find(args).is_some()
    }

    /// Whether a command that there is has as many arguments as it takes.
    pub(super) fn fits(&self, args: &[&[u8]]) -> bool {
        find(args).is_some_and(|found| found.command.arity_fits(args.len()))
    }

    /// Runs a command. The error is what it answered, or that there is none.
    pub(super) fn apply(&mut self, args: &[&[u8]]) -> Result<(), String> {
        let name = || String::from_utf8_lossy(args[0]).into_owned();
        let found = find(args).ok_or_else(|| format!("unknown command {}", name()))?;
        self.commands += 1;
        if is_framing(found.command) {
            return Ok(());
        }
        if !found.command.arity_fits(args.len()) {
            return Err(format!("wrong number of arguments for {}", name()));
        }
        let request = Request::new(found, args, self.server.started_ms);
        let dirty = self.session.tally.dirty;
        call(self.server, &mut self.session, &mut self.reply, &request);
        // A command that failed after it had changed something was logged for
        // that, and does the same here. One that now changes nothing was
        // logged in another state than this.
        let changed = self.session.tally.dirty != dirty;
        if !changed && self.reply.buf.first() == Some(&b'-') {
            let error = String::from_utf8_lossy(&self.reply.buf).trim().to_string();
            self.reply.truncate(0);
            if self.forgives {
                tracing::warn!("{} can't be replayed, and is left out: {error}", name());
                self.forgave = true;
                return Ok(());
            }
            return Err(format!("replaying {} failed: {error}", name()));
        }
        self.reply.truncate(0);
        Ok(())
    }
}

/// A command as the log has it, or an append-only file to import: that of a
/// Redis server has the names that clients called.
fn find(args: &[&[u8]]) -> Option<Found> {
    let found = table().find(args);
    found.or_else(|| table().find_called(args))
}

/// Commands of the stream that change nothing by themselves. A transaction's
/// effects lie in one record, so its frame needs no care in replay.
fn is_framing(command: &Command) -> bool {
    matches!(command.name, "multi" | "exec" | "ping" | "replconf")
}

/// Logs how a start went.
pub fn report(server: &Server, started: Instant, replayed: u64, dir: &Path) {
    let keys: u64 = (0..server.keyspace.databases())
        .map(|db| server.keyspace.key_count(db))
        .sum();
    tracing::info!(
        "DB loaded from {}: {keys} keys, {replayed} commands replayed, {:.3} seconds",
        dir.display(),
        started.elapsed().as_secs_f64()
    );
}
