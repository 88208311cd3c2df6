//! What a command runs in.

use super::effects::Effects;
use super::error::CommandError;
use crate::connection::blocking::BlockRequest;
use crate::connection::dispatch::lock_unless_busy;
use crate::connection::session::Session;
use crate::keyspace::db::{Db, ExpiryMode};
use crate::keyspace::entry::Value;
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// Everything a command may use.
pub struct Context<'c> {
    /// The server.
    pub server: &'static Server,
    /// The connection's own state.
    pub session: &'c mut Session,
    /// The selected database, with the command's stripes locked.
    pub db: Db<'static>,
    /// Where the reply goes.
    pub reply: &'c mut ReplyBuffer,
    /// What goes to the log, if not the command itself.
    pub effects: Effects,
    /// Whether this runs inside EXEC: then
    /// nothing may block.
    pub in_transaction: bool,
    /// Whether every stripe is locked.
    pub holds_all: bool,
    /// What the command's [`Command::prepare`](super::command::Command::prepare) made.
    pub prepared: Option<Value>,
    /// Set by a command that must wait; it writes no reply then.
    pub block: Option<BlockRequest>,
}

impl Context<'_> {
    /// The time that the command sees, Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.db.now_ms
    }

    /// Counts what this client has done so far, for a command that tells the counts
    /// or begins them anew: those of a pipeline, or of a transaction, are else handed
    /// over together.
    pub fn hand_over_counts(&mut self) {
        let (tally, recorder) = (&mut self.session.tally, &mut self.db.recorder);
        tally.hits += std::mem::take(&mut recorder.hits);
        tally.misses += std::mem::take(&mut recorder.misses);
        tally.flush(&self.server.stats);
    }

    /// Runs what looks keys up for a command that does so to change them: none
    /// of it is a hit, a miss or a `keymiss`. Source: Valkey, which looks up
    /// for writing there.
    pub fn uncounted<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let recorder = &self.db.recorder;
        let (hits, misses) = (recorder.hits, recorder.misses);
        let before = recorder.changes.len();
        let done = f(self);
        let recorder = &mut self.db.recorder;
        if recorder.misses != misses {
            let mut since = recorder.changes.split_off(before);
            since.retain(|change| change.event != "keymiss");
            recorder.changes.append(&mut since);
        }
        (recorder.hits, recorder.misses) = (hits, misses);
        done
    }

    /// Counts a key that a command has removed since its time, as the command
    /// gives it, is over.
    pub fn count_expired(&self) {
        if !self.session.replaying {
            crate::stats::add(&self.server.stats.expired, 1);
        }
    }

    /// The same of so many fields.
    pub fn count_expired_fields(&self, count: usize) {
        if !self.session.replaying {
            self.server.keyspace.count_expired_fields(count as u64);
        }
    }

    /// Visits the selected database stripe by stripe, locking each unless all
    /// are held already. For commands with `Locks::None`; expired keys are
    /// hidden, not removed. Where a long script has one, the command is put off.
    pub fn each_stripe(
        &mut self,
        stripes: impl Iterator<Item = usize>,
        mut f: impl FnMut(&mut Db<'_>, usize, &mut ReplyBuffer) -> Result<bool, CommandError>,
    ) -> Result<(), CommandError> {
        for stripe in stripes {
            let go_on = if self.holds_all {
                f(&mut self.db, stripe, self.reply)?
            } else {
                let mut set = StripeSet::default();
                set.add(stripe);
                let server = self.server;
                let held = lock_unless_busy(server, set, self.session.replaying);
                let held = held.ok_or(CommandError::Paused)?;
                let mut db = Db::holding(&server.keyspace, held, self.session.db, self.db.now_ms);
                db.expiry_mode = match self.db.expiry_mode {
                    ExpiryMode::Ignore => ExpiryMode::Ignore,
                    _ => ExpiryMode::Hide,
                };
                f(&mut db, stripe, self.reply)?
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// All stripes, for [`Context::each_stripe`].
    pub fn all_stripes() -> std::ops::Range<usize> {
        0..STRIPES
    }

    /// Asks to wait, unless nothing may block here; then `request.on_timeout`
    /// is replied at once.
    pub fn block(&mut self, request: BlockRequest) {
        if self.in_transaction {
            request.on_timeout.write(self.reply);
            return;
        }
        self.block = Some(request);
    }
}
