//! What a command runs in.

use super::effects::Effects;
use super::error::CommandError;
use crate::connection::blocking::BlockRequest;
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

    /// Visits the selected database stripe by stripe, locking each unless all
    /// are held already. For commands with `Locks::None`; expired keys are
    /// hidden, not removed.
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
                let keyspace = &self.server.keyspace;
                let mut db = Db::open(keyspace, set, self.session.db, self.db.now_ms);
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
