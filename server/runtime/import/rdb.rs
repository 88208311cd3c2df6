//! A dump file into the keyspace.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use redoubt_cluster::replication::ReplicationId;
use redoubt_cluster::replication::history::Position;
use redoubt_persistence::rdb::file::{FileReader, KeyRecord, ReadOptions, Record};
use redoubt_persistence::rdb::primitive::put_raw_string;
use redoubt_persistence::rdb::{Limits, RdbError};

use super::super::recovery::restore_libraries;
use super::super::save::Origin;
use super::{Progress, Summary};
use crate::commands::generic::is_lfu;
use crate::config::id;
use crate::keyspace::KeyRef;
use crate::keyspace::codec;
use crate::keyspace::db::{Db, ExpiryMode};
use crate::keyspace::entry::Value;
use crate::keyspace::stripe::StripeSet;
use crate::state::{Server, unix_ms};

/// What stands before the source of a function library.
const FUNCTION: u8 = 245;

/// Whether a file begins as a dump does.
pub fn is_dump(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(6).read_to_end(&mut head)?;
    Ok(begins_as_dump(&head))
}

/// Whether a dump begins with these (at least five) bytes.
pub fn begins_as_dump(head: &[u8]) -> bool {
    head.starts_with(b"REDIS") || head.starts_with(b"VALKEY")
}

/// How files are read under this configuration.
fn read_options(server: &Server) -> ReadOptions {
    let config = server.config.read();
    let longest = config.integer(id("proto-max-bulk-len")).max(0) as usize;
    ReadOptions {
        limits: Limits {
            max_string_bytes: longest.max(Limits::default().max_string_bytes),
        },
        verify_checksum: config.bool(id("rdbchecksum")),
    }
}

/// Where in a history of replication a dump file is from, if it tells.
pub fn origin(path: &Path) -> Option<Origin> {
    let file = BufReader::new(File::open(path).ok()?);
    let mut reader = FileReader::new(file, ReadOptions::default()).ok()?;
    let (mut name, mut offset, mut selected_db) = (None, None, 0);
    while let Ok(Record::Aux { name: field, value }) = reader.next_record() {
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        match field {
            b"repl-id" => name = ReplicationId::parse(value),
            b"repl-offset" => offset = number(),
            b"repl-stream-db" => selected_db = number().unwrap_or(0),
            _ => {}
        }
    }
    let (id, offset) = (name?, offset?);
    Some(Origin {
        position: Position { id, offset },
        selected_db: u32::try_from(selected_db).unwrap_or(0),
    })
}

/// Loads a dump file, without keys that have expired if asked for.
pub fn load_dump(
    server: &'static Server,
    path: &Path,
    without_expired: bool,
) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut progress = Progress::new(&[path]);
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    load(server, file, without_expired, &mut summary, &mut progress)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(summary)
}

/// Loads a dump from a stream; gives the stream and what was read beyond the
/// dump's end.
pub fn load<R: Read>(
    server: &'static Server,
    input: R,
    without_expired: bool,
    summary: &mut Summary,
    progress: &mut Progress,
) -> Result<(R, Vec<u8>), String> {
    let options = read_options(server);
    let mut reader = FileReader::new(input, options).map_err(|e| e.to_string())?;
    let loader = Loader {
        server,
        now_ms: unix_ms(),
        without_expired,
        limits: options.limits,
        lfu: is_lfu(server),
    };
    let mut libraries = Vec::new();
    loop {
        let position = reader.position();
        match reader.next_record().map_err(|e| e.to_string())? {
            Record::Key(record) => loader.key(&record, summary).map_err(|error| {
                let key = record.key.escape_ascii();
                format!(
                    "at byte {position}: key '{key}' of database {}: {error}",
                    record.db
                )
            })?,
            Record::Function(source) => {
                put_library(&mut libraries, source);
                summary.functions += 1;
            }
            Record::ModuleAux { module } => {
                if !summary.modules.contains(&module) {
                    summary.modules.push(module);
                }
            }
            Record::Eof(_) => {
                if !libraries.is_empty() {
                    restore_libraries(server, &libraries)
                        .map_err(|error| format!("a function library: {error}"))?;
                }
                return Ok(reader.into_parts());
            }
            Record::Aux { .. }
            | Record::SelectDb(_)
            | Record::ResizeDb { .. }
            | Record::SlotInfo { .. } => {}
        }
        progress.at(position, summary);
    }
}

struct Loader {
    server: &'static Server,
    now_ms: i64,
    without_expired: bool,
    limits: Limits,
    lfu: bool,
}

impl Loader {
    fn key(&self, record: &KeyRecord<'_>, summary: &mut Summary) -> Result<(), String> {
        let databases = self.server.keyspace.databases();
        if record.db >= databases {
            return Err(format!("`databases` is {databases}"));
        }
        let object = match record.decode(self.limits) {
            Err(RdbError::Empty) => {
                summary.empty += 1;
                return Ok(());
            }
            object => object.map_err(|error| error.to_string())?,
        };
        let expired = record.expire_at_ms.is_some_and(|at| at <= self.now_ms);
        if expired && self.without_expired {
            summary.expired += 1;
            return Ok(());
        }
        let stripes = StripeSet::one(KeyRef::new(record.key).stripe());
        let mut db = Db::open(&self.server.keyspace, stripes, record.db, self.now_ms);
        db.expiry_mode = ExpiryMode::Ignore;
        if db.exists(record.key).map_err(|e| format!("{e:?}"))? {
            return Err("it occurs twice".into());
        }
        db.set_value(record.key, codec::value_of(object), record.expire_at_ms)
            .map_err(|error| format!("{error:?}"))?;
        if let Ok(Some(entry)) = db.peek(record.key) {
            entry.set_access(self.access(record));
        }
        summary.keys += 1;
        Ok(())
    }

    /// The eviction clock that goes with what the file says of a key's use.
    fn access(&self, record: &KeyRecord<'_>) -> u32 {
        let now_s = self.now_ms / 1000;
        let access = match (record.idle_s, record.frequency) {
            (Some(idle_s), _) if !self.lfu => now_s.saturating_sub_unsigned(idle_s),
            (_, Some(frequency)) if self.lfu => frequency.into(),
            _ => now_s,
        };
        (access & 0xff_ffff) as u32
    }
}

/// A key as a file has it: database, key, value, expiry (Unix ms).
pub type DecodedKey = (u32, Vec<u8>, Value, Option<i64>);

/// What a dump file holds.
#[derive(Default)]
pub struct Decoded {
    /// All keys that have not expired.
    pub keys: Vec<DecodedKey>,
    /// The libraries of functions, as the tree keeps them.
    pub libraries: Vec<u8>,
}

/// All of a dump file, for DEBUG RELOAD. The file is validated whole before
/// anything is returned.
pub fn decode_file(server: &Server, path: &Path) -> Result<Decoded, String> {
    let options = read_options(server);
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut reader = FileReader::new(file, options).map_err(|e| e.to_string())?;
    let (mut decoded, now_ms) = (Decoded::default(), unix_ms());
    loop {
        match reader.next_record().map_err(|e| e.to_string())? {
            Record::Key(record) => {
                let object = match record.decode(options.limits) {
                    Err(RdbError::Empty) => continue,
                    object => object.map_err(|error| error.to_string())?,
                };
                if record.expire_at_ms.is_none_or(|at| at > now_ms) {
                    let value = codec::value_of(object);
                    let key = record.key.to_vec();
                    let entry = (record.db, key, value, record.expire_at_ms);
                    decoded.keys.push(entry);
                }
            }
            Record::Function(source) => put_library(&mut decoded.libraries, source),
            Record::Eof(_) => return Ok(decoded),
            _ => {}
        }
    }
}

/// Adds a library of functions to those of a file, as the tree keeps them.
pub fn put_library(libraries: &mut Vec<u8>, source: &[u8]) {
    libraries.push(FUNCTION);
    put_raw_string(libraries, source);
}
