//! What a connection remembers between commands; only its worker touches it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use tokio::sync::oneshot::Receiver;

use super::client::Client;
use crate::acl::user::User;
use crate::cluster::effects::Outcome;
use crate::commands::command::Command;
use crate::scripting::line::PutOff;

/// Which replies a client wants (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but the next one.
    SkipNext,
    /// All but this one.
    Skip,
}

/// A command queued by MULTI.
pub struct Queued {
    /// The command.
    pub command: &'static Command,
    /// Its arguments with its name.
    pub args: Vec<Vec<u8>>,
}

/// A transaction being put together.
#[derive(Default)]
pub struct Transaction {
    /// Commands so far.
    pub queued: Vec<Queued>,
    /// A command was refused, so EXEC must fail.
    pub broken: bool,
}

/// The state of a connection.
pub struct Session {
    /// What others see of it.
    pub client: Arc<Client>,
    /// Selected logical database.
    pub db: u32,
    /// Whether it may run commands that need a login.
    pub authenticated: bool,
    /// Its user; None for the server's own sessions, which may do everything.
    pub user: Option<Arc<User>>,
    /// Whether that user may do everything.
    pub unrestricted: bool,
    /// The generation of users that both are from.
    pub acl_generation: u64,
    /// MULTI, if one is open.
    pub transaction: Option<Transaction>,
    /// Keys watched, with their databases.
    pub watched: BTreeSet<(u32, Vec<u8>)>,
    /// Names subscribed to, by [`super::pubsub::Kind`].
    pub subscriptions: [BTreeSet<Vec<u8>>; 3],
    /// Which replies it wants.
    pub reply_mode: ReplyMode,
    /// Close once the replies are out (QUIT, protocol errors).
    pub close_after_reply: bool,
    /// Counts that are not in the server's counters yet.
    pub tally: crate::stats::Tally,
    /// A command changed something since this was last looked at.
    pub wrote: bool,
    /// Waits in a row for values of one command (see `cold_reads.rs`).
    pub cold_waits: u32,
    /// It is the log being replayed: no gates, no clock, nothing logged.
    pub replaying: bool,
    /// It is our primary's stream, in this generation of our role.
    pub following: Option<u64>,
    /// Of our primary's stream: the bytes of what is being run, until they are
    /// in the log.
    pub stream_part: std::cell::Cell<Option<Vec<u8>>>,
    /// The command of a transaction of that stream which failed here before it
    /// had changed anything, and its error.
    pub misfit: Option<String>,
    /// What it told of itself as a replica.
    pub peer: Option<Box<redoubt_cluster::replication::peer::Peer>>,
    /// It asked for the stream: the connection is handed over to a thread.
    pub stream_request: Option<crate::replication::replicas::StreamRequest>,
    /// It has offered slots: the connection is handed over to a thread.
    pub slot_import: Option<Arc<crate::cluster::migration::Job>>,
    /// What its command brings about elsewhere, before which no reply leaves.
    pub order: Option<Outcome>,
    /// What it has said about redirections.
    pub routing: crate::cluster::route::Routing,
    /// A script that was set aside, for the dispatcher to go on with.
    pub detached: Option<crate::scripting::run::Detached>,
    /// A script is running: time stands still, and order is kept.
    pub in_script: bool,
    /// A transaction is running that has written to a key.
    pub half_way: bool,
    /// The request must be tried again in a moment: a script holds its keys.
    pub postponed: bool,
    /// What became of that so far.
    pub put_off: Option<Box<PutOff>>,
    /// The reply waits until what is in the log is in its file: another server
    /// deletes what is here now, or keeps what is here no more.
    pub moved_keys: bool,
    /// [`Server::gate_version`](crate::state::Server) before the gate was asked
    /// about a client's request; None in sessions that have no client.
    pub gate_version: Option<u64>,
}

impl Session {
    /// Whether anybody is told of what it does: not of what is replayed, unless it
    /// is a primary's stream.
    #[inline]
    pub fn is_heard(&self) -> bool {
        !self.replaying || self.following.is_some()
    }

    /// A fresh session.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Session {
        let routing = crate::cluster::route::Routing {
            // One that stands for a client that waits reads where that may.
            read_only: client.read_only.load(Relaxed),
            ..Default::default()
        };
        Session {
            client,
            db: 0,
            authenticated,
            user: None,
            unrestricted: true,
            acl_generation: 0,
            transaction: None,
            watched: BTreeSet::new(),
            subscriptions: Default::default(),
            reply_mode: ReplyMode::On,
            close_after_reply: false,
            tally: Default::default(),
            wrote: false,
            cold_waits: 0,
            replaying: false,
            following: None,
            stream_part: std::cell::Cell::new(None),
            misfit: None,
            peer: None,
            stream_request: None,
            slot_import: None,
            order: None,
            routing,
            detached: None,
            in_script: false,
            half_way: false,
            postponed: false,
            put_off: None,
            moved_keys: false,
            gate_version: None,
        }
    }

    /// Has its replies wait until it is told of something, for no longer than
    /// `patience` if there is one.
    pub fn await_outcome(&mut self, told: Receiver<()>, patience: Option<Duration>) {
        self.order.get_or_insert_default().add(told, patience);
    }

    /// Whether it is the stream of a primary that we follow no more. Asked
    /// under the lock of a stripe, this stays true or false until it is given
    /// back.
    #[inline]
    pub fn is_outdated(&self, server: &crate::state::Server) -> bool {
        let now = || server.replication.generation();
        self.following.is_some_and(|generation| generation != now())
    }

    /// Whether the gate may answer otherwise by now than it did for the request
    /// at hand. Asked under the lock of a stripe, a no stays true until it is
    /// given back.
    #[inline]
    pub fn passed_long_ago(&self, server: &crate::state::Server) -> bool {
        let now = || server.gate_version.load(Acquire);
        self.gate_version.is_some_and(|version| version != now())
    }

    /// The session in which a script of this one runs its commands.
    pub fn for_script(caller: &Session) -> Session {
        let mut session = Session::new(caller.client.clone(), true);
        session.db = caller.db;
        session.routing = caller.routing;
        session.user = caller.user.clone();
        session.unrestricted = caller.unrestricted;
        session.acl_generation = caller.acl_generation;
        session.replaying = caller.replaying;
        session.gate_version = caller.gate_version;
        session.reply_mode = caller.reply_mode;
        session
    }

    /// How many channels and patterns it is subscribed to.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions[0].len() + self.subscriptions[1].len()
    }

    /// Whether it listens to anything, shard channels included.
    pub fn is_subscriber(&self) -> bool {
        // As others see it: shard channels may have been dropped.
        self.client.is_subscriber()
    }
}
