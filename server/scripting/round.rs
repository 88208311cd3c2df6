//! A script by itself, from its locks to its log: one attempt of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use corosensei::Yielder;

use super::busy::LongScript;
use super::effects_log::EffectsLog;
use super::engine::Engine;
use super::invocation::{Abort, Invocation, What};
use super::protect::execute;
use super::run::Run;
use crate::cluster::{route, slot_stats};
use crate::commands::context::Context;
use crate::commands::effects::Effects;
use crate::commands::error::CommandError;
use crate::connection::conclusion::{after, tell};
use crate::connection::dispatch::{open_db, open_unless_busy, reply_error};
use crate::connection::session::Session;
use crate::keyspace::db::Db;
use crate::keyspace::stripe::StripeSet;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;
use redoubt_cluster::slots::Slot;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a reply, which may be an error.
    Replied { failed: bool },
    /// It has to begin again, with all stripes.
    Restart,
    /// The command that called it is to be asked again.
    Postponed,
}

/// What one run of a script by itself takes.
pub struct Round<'a> {
    pub server: &'static Server,
    pub now_ms: i64,
    pub yielder: &'a Yielder<(), ()>,
    /// With all stripes, and the right to roam.
    pub all: bool,
    /// Once it has run for long.
    pub long: Option<Arc<LongScript>>,
    /// What has run.
    pub what: Option<What>,
}

impl Round<'_> {
    /// Locks, runs, logs, unlocks.
    pub fn run(
        &mut self,
        engine: &mut Engine,
        session: &mut Session,
        invocation: &Invocation<'_>,
        output: &mut ReplyBuffer,
    ) -> End {
        let (server, db_index) = (self.server, session.db);
        let stripes = match (self.all, self.is_killed()) {
            (true, _) => StripeSet::ALL,
            // It gets no further than to its first command.
            (_, true) => StripeSet::default(),
            _ => invocation.stripes(),
        };
        // A long one has a thread of its own to wait on.
        let opened = match self.long.is_some() {
            true => Some(open_db(server, session, stripes, self.now_ms)),
            false => open_unless_busy(server, session, stripes, self.now_ms),
        };
        let Some(mut db) = opened else {
            if self.all {
                server.scripting.roaming.give_back();
            }
            return End::Postponed;
        };
        if let Some(end) = self.refusal(session, invocation, &mut db, output) {
            return end;
        }
        let mut calls = ReplyBuffer {
            buf: engine.lend_buffer(),
            protocol: Protocol::Resp2,
        };
        let mut ctx = Context {
            server,
            session,
            db,
            reply: &mut calls,
            effects: Effects::default(),
            in_transaction: true,
            holds_all: self.all,
            prepared: None,
            block: None,
        };
        let log = EffectsLog::new(db_index, engine.lend_buffer());
        let mut run = Run::new(server, invocation, log, self.yielder);
        run.now_ms = self.now_ms;
        run.claimed = self.all;
        run.long = self.long.take();
        let failed = execute(engine, &mut run, &mut ctx, invocation, output);
        let Context { db, session, .. } = ctx;
        let end = match run.abort {
            Some(Abort::Restart) => End::Restart,
            Some(Abort::Postpone) => End::Postponed,
            _ => End::Replied { failed },
        };
        let recorder = conclude(server, session, db, &mut run);
        session.client.db.store(db_index, Ordering::Relaxed);
        after(server, session, recorder);
        session.tally.flush(&server.stats);
        self.long = run.long.take();
        self.what = Some(run.what);
        engine.keep_buffer(calls.buf);
        engine.keep_buffer(run.log.into_buffer());
        end
    }

    fn is_killed(&self) -> bool {
        self.long.as_ref().is_some_and(|l| l.killed().is_some())
    }

    /// What ends a run before it begins, now that its keys are locked: what the
    /// gate said may not hold any more, or a key may be another node's.
    fn refusal(
        &self,
        session: &Session,
        invocation: &Invocation<'_>,
        db: &mut Db<'_>,
        output: &mut ReplyBuffer,
    ) -> Option<End> {
        let end = 'refused: {
            let later = match self.long {
                None => End::Postponed,
                Some(_) => End::Restart,
            };
            if db.holds_any() && session.passed_long_ago(self.server) {
                break 'refused later;
            }
            match route::check_declared(self.server, session, invocation.command, db) {
                Ok(()) => return None,
                Err(CommandError::Paused) if !self.is_killed() => later,
                Err(error) => {
                    reply_error(self.server, output, &error);
                    End::Replied { failed: true }
                }
            }
        };
        if self.all {
            self.server.scripting.roaming.give_back();
        }
        Some(end)
    }
}

/// Logs what a script did, in one piece, and unlocks.
fn conclude(
    server: &Server,
    session: &Session,
    mut db: crate::keyspace::db::Db<'_>,
    run: &mut Run,
) -> crate::keyspace::recorder::Recorder {
    db.recorder.dirty = run.dirty;
    let mut recorder = std::mem::take(&mut db.recorder);
    if server.log().is_some() {
        let keys = crate::keyspace::recorder::expired_keys(&recorder.expired);
        crate::stats::add(&server.stats.expired, keys);
    }
    let bytes = run.log.append_to(server);
    let slot = run.slot.filter(|_| !run.several_slots);
    slot_stats::note_replicated(server, slot.map(Slot::number), bytes);
    tell(server, session, &mut recorder);
    drop(db);
    if run.claimed {
        server.scripting.roaming.give_back();
    }
    recorder
}
