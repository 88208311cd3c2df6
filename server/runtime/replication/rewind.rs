//! Going back to where the primary's history parted from ours: what a former
//! primary had logged, and none of its replicas had when one of them was
//! promoted. The tree holds an earlier state, and the log leads from there to
//! the fork; what is behind it becomes void (see `replication/identity.rs`).
//!
//! 1. What leads to the fork is read once, to see that it is there and ends
//!    with a whole command outside of any transaction.
//! 2. Under all stripes: the state of the tree, as at a start; then those
//!    commands. Clients are told LOADING meanwhile.
//! 3. The new identity is on disk: up to here a restart finds the history of
//!    before, from here on the one without what is void.
//!
//! The tree itself is not touched. If it has gone beyond the fork already,
//! there is no way back, and a full sync it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redoubt_persistence::tree::{Meta, Tree};

use super::install::{lock_all, warm_again};
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::table::table;
use crate::connection::client::Client;
use crate::connection::dispatch::run;
use crate::connection::session::Session;
use crate::keyspace::DbMap;
use crate::keyspace::db::{Db, ExpiryMode};
use crate::keyspace::stripe::Held;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::runtime::recovery::{LIBRARIES, decode_map, read_libraries, read_log};
use crate::scripting::library::Libraries;
use crate::state::{Server, Storage};

const ROLE_CHANGED: &str = "the role has changed";

/// Goes back to an offset of the stream, in this generation of the role. After
/// an error everything is as it was.
pub fn rewind(
    server: &'static Server,
    storage: &'static Storage,
    offset: u64,
    generation: u64,
) -> Result<(), String> {
    if server.storage().is_none() {
        return Err("a pure cache keeps no earlier state".into());
    }
    let replication = &server.replication;
    let turn = storage.take_turn();
    let identity = replication.identity();
    if identity.astray {
        return Err("tree and log do not lead to what was here".into());
    }
    let to = identity.log_offset(offset);
    let tree = storage.tree.get();
    let meta = tree.meta().map_err(|e| e.to_string())?;
    if to < identity.begin || to < meta.offset || to > storage.log.end().0 {
        return Err(format!(
            "the tree has everything up to offset {}",
            identity.stream_offset(meta.offset.max(identity.begin))
        ));
    }
    let way = Way {
        parts: identity.valid(meta.offset, to),
        libraries: libraries_of(server, &meta)?,
        tree: Arc::new(tree.again().map_err(|e| e.to_string())?),
        meta,
    };
    way.inspect(storage)?;
    let end = storage.log.end();
    storage.log.sync_to(end).map_err(|e| e.to_string())?;
    if replication.generation() != generation {
        return Err(ROLE_CHANGED.into());
    }
    // Clients are refused rather than kept waiting for locks.
    let _loading = Loading::begin(&server.loading);
    let held = lock_all(server, generation).ok_or(ROLE_CHANGED)?;
    let end = storage.log.end();
    storage.log.sync_to(end).map_err(|e| e.to_string())?;
    // Those who follow us must not go on with what is void.
    replication.replicas.disconnect();
    // From here on there is no way but forward, or out.
    let went = way.go(server, storage, held, |applied| {
        replication
            .change_identity(|identity| identity.rewind(to, end.0, applied))
            .map_err(|e| format!("can't write the replication state: {e}"))
    });
    if let Err(error) = went {
        tracing::error!("Going back to offset {offset} failed: {error}. A restart is needed");
        std::process::exit(1);
    }
    replication.replicas.disconnect();
    server.tracking.flush(server);
    drop(turn);
    warm_again(server);
    Ok(())
}

/// The server says LOADING for as long as this lives.
struct Loading<'a>(&'a AtomicBool);

impl<'a> Loading<'a> {
    fn begin(flag: &'a AtomicBool) -> Loading<'a> {
        flag.store(true, Ordering::SeqCst);
        Loading(flag)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn libraries_of(server: &Server, meta: &Meta) -> Result<Libraries, String> {
    match meta.extra.iter().find(|(name, _)| name == LIBRARIES) {
        Some((_, encoded)) => read_libraries(server, encoded)
            .map_err(|e| format!("the tree's libraries of functions: {e}")),
        None => Ok(Libraries::default()),
    }
}

/// What leads to the fork.
struct Way {
    /// Another handle of the tree, so that nobody puts into RAM what was read
    /// of it before.
    tree: Arc<Tree>,
    /// What the tree says of itself.
    meta: Meta,
    /// Its libraries of functions.
    libraries: Libraries,
    /// The parts of the log behind it.
    parts: Vec<(u64, u64)>,
}

impl Way {
    /// Whether it can be gone to its end.
    fn inspect(&self, storage: &Storage) -> Result<(), String> {
        let mut in_transaction = false;
        for part in &self.parts {
            read_log(&storage.log, *part, |args| {
                match args[0].to_ascii_lowercase().as_slice() {
                    b"multi" => in_transaction = true,
                    b"exec" => in_transaction = false,
                    _ => {}
                }
                match table().find(args) {
                    Some(_) => Ok(()),
                    None => Err("an unknown command".into()),
                }
            })?;
        }
        match in_transaction {
            true => Err("a transaction is not complete there".into()),
            false => Ok(()),
        }
    }

    /// Puts the tree's state in place of ours, runs the commands, and has
    /// `settle` make it final, given the tree's offset.
    fn go(
        self,
        server: &'static Server,
        storage: &'static Storage,
        mut held: Held<'static>,
        settle: impl FnOnce(u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let databases = server.keyspace.databases();
        let map = decode_map(&self.meta).unwrap_or_else(|| DbMap {
            physical: (0..databases).collect(),
            retired: Vec::new(),
        });
        let counts = &self.meta.key_counts;
        server
            .keyspace
            .replace(&mut held, self.tree.clone(), map, counts);
        *server.scripting.libraries.write() = self.libraries;
        storage.tree.set(self.tree);
        let applied = self.meta.offset;
        server.applied.store(applied, Ordering::Relaxed);
        let mut runner = Runner::new(server, held, self.meta.selected_db);
        for part in self.parts {
            read_log(&storage.log, part, |args| runner.run(args))?;
        }
        settle(applied)?;
        storage.log.append_raw_selected(b"", runner.session.db);
        server.watches.touch_all();
        Ok(())
    }
}

/// Runs commands of the log while all stripes are locked, as EXEC does.
struct Runner {
    server: &'static Server,
    session: Session,
    reply: ReplyBuffer,
    /// Only while a command runs it is not here.
    db: Option<Db<'static>>,
}

impl Runner {
    fn new(server: &'static Server, held: Held<'static>, selected_db: u32) -> Runner {
        let client = Client::new("log".into(), "log".into(), -1, server.started_ms);
        let mut session = Session::new(Arc::new(client), true);
        session.replaying = true;
        if selected_db < server.keyspace.databases() {
            session.db = selected_db;
        }
        let mut db = Db::holding(&server.keyspace, held, session.db, server.started_ms);
        db.expiry_mode = ExpiryMode::Ignore;
        db.birth = Some(server.settings.stamp(crate::state::unix_ms()));
        Runner {
            server,
            session,
            reply: ReplyBuffer::new(Protocol::Resp2),
            db: Some(db),
        }
    }

    fn run(&mut self, args: &[&[u8]]) -> Result<(), String> {
        let found = table().find(args).ok_or("an unknown command")?;
        if matches!(found.command.name, "multi" | "exec" | "ping" | "replconf") {
            return Ok(());
        }
        let Some(mut db) = self.db.take() else {
            return Err("the locks are gone".into());
        };
        db.select(self.session.db);
        let mut ctx = Context {
            server: self.server,
            session: &mut self.session,
            db,
            reply: &mut self.reply,
            effects: Effects::default(),
            in_transaction: true,
            holds_all: true,
            prepared: None,
            block: None,
        };
        run(&mut ctx, found, args);
        let recorder = std::mem::take(&mut ctx.db.recorder);
        self.db = Some(ctx.db);
        let failed = recorder.dirty == 0 && self.reply.buf.first() == Some(&b'-');
        let answer = match failed {
            true => Err(format!(
                "{} fails: {}",
                found.command.name,
                String::from_utf8_lossy(&self.reply.buf).trim()
            )),
            false => Ok(()),
        };
        self.reply.truncate(0);
        answer
    }
}
