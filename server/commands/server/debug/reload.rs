//! DEBUG RELOAD: everything is written to a snapshot file, thrown away, and
//! read back.

use std::sync::Arc;

use redoubt_persistence::log::Log;
use redoubt_persistence::rdb::dump;

use super::keys;
use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::effects::encode;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::pause::{self, Purpose};
use crate::connection::serve;
use crate::keyspace::codec;
use crate::keyspace::db::Db;
use crate::keyspace::stripe::StripeSet;
use crate::runtime::import::Decoded;
use crate::runtime::{import, save};
use crate::scripting::engine::Engine;
use crate::scripting::library::{Libraries, Policy};
use crate::state::{Server, unix_ms};

#[derive(Default)]
struct Options {
    nosave: bool,
    noflush: bool,
    merge: bool,
}

/// DEBUG RELOAD [NOSAVE] [NOFLUSH] [MERGE]. Inside a transaction, which holds
/// all locks, values are only encoded and decoded in place.
pub fn run(ctx: &mut Context<'_>, words: &[&[u8]]) -> CommandResult {
    let mut options = Options::default();
    for word in words {
        match () {
            () if args::is(word, "NOSAVE") => options.nosave = true,
            () if args::is(word, "NOFLUSH") => options.noflush = true,
            () if args::is(word, "MERGE") => options.merge = true,
            () => {
                return Err(CommandError::err(
                    "DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    if ctx.holds_all || ctx.in_transaction {
        return keys::reload(ctx);
    }
    let server = ctx.server;
    {
        // The first of several to end would end the others' pause.
        let _turn = server.saves.reload_turn.lock();
        let _held_back = (!options.nosave).then(|| NoWrites::begin(server));
        if !options.nosave {
            save::last(server).map_err(CommandError::err)?;
        }
        load(server, &options).map_err(|error| {
            tracing::error!("DEBUG RELOAD: {error}");
            CommandError::err("Error trying to load the RDB dump, check server logs.")
        })?;
    }
    server.tracking.flush(server);
    serve_all(server);
    ctx.reply.ok();
    Ok(())
}

/// Writes are held back, and none is under way: what one acknowledged between the
/// snapshot and its loading would be lost.
struct NoWrites(&'static Server);

impl NoWrites {
    fn begin(server: &'static Server) -> NoWrites {
        pause::begin(server, Purpose::Reload, i64::MAX, true, unix_ms());
        let held_back = NoWrites(server);
        drop(server.keyspace.lock(StripeSet::ALL));
        held_back
    }
}

impl Drop for NoWrites {
    fn drop(&mut self) {
        pause::end(self.0, Purpose::Reload);
    }
}

/// Looks whether clients that wait for keys can have them now.
fn serve_all(server: &'static Server) {
    if server.blocked.clients() == 0 {
        return;
    }
    for index in 0..server.keyspace.databases() {
        for key in server.blocked.keys_of(index) {
            server.blocked.put_off(index, key.into());
        }
    }
    serve::serve_put_off(server);
}

/// Puts the file's keys and libraries in place of all others, or among them. The log gets
/// all of it: the file may be another one than that of now.
fn load(server: &'static Server, options: &Options) -> Result<(), String> {
    let Decoded { keys, libraries } = import::decode_file(server, &save::file_path(server))?;
    let databases = server.keyspace.databases();
    let now_ms = unix_ms();
    let mut db = Db::open(&server.keyspace, StripeSet::ALL, 0, now_ms);
    for (index, key, ..) in &keys {
        if *index >= databases {
            return Err(format!("a key of database {index}"));
        }
        db.select(*index);
        let known = options.noflush && db.exists(key).map_err(|e| format!("{e:?}"))?;
        if known && !options.merge {
            return Err(format!("key '{}' exists", key.escape_ascii()));
        }
    }
    let (word, restored) = restore(server, &libraries, options)?;
    let known = std::mem::replace(&mut *server.scripting.libraries.write(), restored);
    server.watches.touch_all();
    let mut effects = Effects::begin(server);
    if known.counts().0 != 0 || !libraries.is_empty() {
        let libraries = dump::wrap(&libraries);
        effects.add(0, &[b"FUNCTION", b"RESTORE", &libraries, word.as_bytes()]);
    }
    if !options.noflush {
        for index in 0..databases {
            db.flush(index);
        }
        effects.add(0, &[b"FLUSHALL"]);
    }
    let mut payload = Vec::new();
    for (index, key, value, expire_at_ms) in keys {
        db.select(index);
        db.set_value(&key, value, expire_at_ms)
            .map_err(|error| format!("{error:?}"))?;
        if let Ok(Some(entry)) = db.peek(&key) {
            payload.clear();
            codec::encode_payload(entry.value(), &mut payload);
            let at = expire_at_ms.unwrap_or(0).to_string();
            let (at, dump) = (at.as_bytes(), dump::wrap(&payload));
            effects.add(index, &[b"RESTORE", &key, at, &dump, b"REPLACE", b"ABSTTL"]);
        }
    }
    effects.log();
    Ok(())
}

/// What becomes of the libraries of functions, and FUNCTION RESTORE's word for
/// that.
fn restore(
    server: &Server,
    encoded: &[u8],
    options: &Options,
) -> Result<(&'static str, Libraries), String> {
    let (word, policy) = match (options.noflush, options.merge) {
        (false, _) => ("FLUSH", Policy::Flush),
        (true, true) => ("REPLACE", Policy::Replace),
        (true, false) => ("APPEND", Policy::Append),
    };
    let mut engine = Engine::take(&server.scripting).map_err(|e| e.to_string())?;
    let known = server.scripting.libraries.read().clone();
    let restored = known.restore(&mut engine, encoded, policy, false);
    engine.give_back(&server.scripting);
    Ok((word, restored.map_err(|e| e.to_string())?))
}

/// A transaction for the log: after a crash all of it is there, or nothing.
struct Effects {
    log: Option<&'static Arc<Log>>,
    bytes: Vec<u8>,
    db: u32,
}

impl Effects {
    fn begin(server: &'static Server) -> Effects {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[b"MULTI"]);
        Effects {
            log: server.own_log(),
            bytes,
            db: 0,
        }
    }

    fn add(&mut self, db: u32, words: &[&[u8]]) {
        if self.log.is_none() {
            return;
        }
        if db != self.db {
            self.db = db;
            encode(&mut self.bytes, &[b"SELECT", db.to_string().as_bytes()]);
        }
        encode(&mut self.bytes, words);
    }

    fn log(mut self) {
        encode(&mut self.bytes, &[b"EXEC"]);
        if let Some(log) = self.log {
            log.append(0, &self.bytes, self.db);
        }
    }
}
