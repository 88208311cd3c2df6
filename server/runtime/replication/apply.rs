//! Running a primary's stream. A command enters our log, byte for byte, under
//! the lock of the stripes that it changes: at each moment the log's end is
//! exactly what the keyspace shows (I4). A transaction is run and logged as
//! one, once its EXEC is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::log_aside;
use crate::clock::{Ticks, account};
use crate::commands::table::{Found, table};
use crate::connection::client::Client;
use crate::connection::dispatch::{Request, call, stripes_of};
use crate::connection::gate::check_from_primary;
use crate::connection::session::{Queued, Session, Transaction};
use crate::keyspace::stripe::StripeSet;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::resp::stream::{CommandStream, Part};
use crate::state::{Server, unix_ms};

/// Runs the commands of a primary's stream.
pub struct Applier {
    server: &'static Server,
    generation: u64,
    session: Session,
    reply: ReplyBuffer,
    stream: CommandStream,
    /// Bytes of a transaction that is not complete.
    transaction: Vec<u8>,
    /// The primary has asked how far we are.
    pub asked_for_ack: bool,
}

impl Applier {
    /// Begins at a point of the stream where `db` is selected.
    pub fn new(server: &'static Server, client: Arc<Client>, generation: u64, db: u32) -> Applier {
        let mut session = Session::new(client, true);
        session.replaying = true;
        session.following = Some(generation);
        if db < server.keyspace.databases() {
            session.db = db;
        }
        Applier {
            server,
            generation,
            session,
            reply: ReplyBuffer::new(Protocol::Resp2),
            stream: CommandStream::default(),
            transaction: Vec::new(),
            asked_for_ack: false,
        }
    }

    /// Runs what is complete. After an error the stream can't be followed any
    /// further: what failed is neither applied nor logged.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut stream = std::mem::take(&mut self.stream);
        let fed = stream.feed(bytes, |part| match part {
            Part::Command { args, raw } => self.take(args, raw),
            Part::Filler(bytes) => {
                self.log_aside(bytes);
                Ok(())
            }
            Part::Garbled => Err("the stream holds something that is no command".into()),
        });
        self.stream = stream;
        self.session.tally.flush(&self.server.stats);
        fed
    }

    fn log_aside(&self, part: &[u8]) {
        log_aside(self.server, self.generation, part, self.session.db);
    }

    fn take(&mut self, args: &[&[u8]], raw: &[u8]) -> Result<(), String> {
        let name = || String::from_utf8_lossy(args[0]).into_owned();
        let found = table()
            .find(args)
            .ok_or_else(|| format!("unknown command {}", name()))?;
        let command = found.command;
        if self.session.transaction.is_some() {
            let checked = check_from_primary(self.server, &self.session, command, args);
            checked.map_err(|error| format!("within MULTI, {} fails here: {error}", name()))?;
        }
        if let Some(transaction) = &mut self.session.transaction {
            self.transaction.extend_from_slice(raw);
            if command.name != "exec" {
                transaction.queued.push(Queued {
                    command,
                    args: args.iter().map(|arg| arg.to_vec()).collect(),
                });
                return Ok(());
            }
            let whole = std::mem::take(&mut self.transaction);
            return self.run(found, args, &whole);
        }
        match command.name {
            "multi" => {
                self.session.transaction = Some(Transaction::default());
                self.transaction.extend_from_slice(raw);
                Ok(())
            }
            "ping" => {
                self.log_aside(raw);
                Ok(())
            }
            "replconf" => {
                let word = args.get(1).copied().unwrap_or_default();
                self.asked_for_ack |= word.eq_ignore_ascii_case(b"getack");
                self.log_aside(raw);
                Ok(())
            }
            _ if command.arity_fits(args.len()) => self.run(found, args, raw),
            _ => Err(format!("wrong number of arguments for {}", name())),
        }
    }

    fn run(&mut self, found: Found, args: &[&[u8]], raw: &[u8]) -> Result<(), String> {
        self.session.stream_part.set(Some(raw.to_vec()));
        let dirty = self.session.tally.dirty;
        let request = Request::new(found, args, unix_ms());
        let mut clock = Ticks::now();
        call(self.server, &mut self.session, &mut self.reply, &request);
        account(self.server, &mut self.session, &request, &mut clock, 0);
        if self.session.is_outdated(self.server) {
            return Err("the stream is not followed any more".into());
        }
        if let Some(error) = self.failure(dirty) {
            // What it locked was logged with it; that is of no harm, since
            // what follows an error is a full sync.
            let name = String::from_utf8_lossy(args[0]).into_owned();
            if !self
                .server
                .settings
                .replica_read_only
                .load(Ordering::Relaxed)
            {
                // What its own clients wrote may be in the way, as is known.
                tracing::warn!("{name} fails on this writable replica: {error}");
                let astray = self.server.replication.go_astray();
                astray.map_err(|e| format!("can't write the replication state: {e}"))?;
                return self.log_unlogged(found, args);
            }
            return Err(format!("{name} fails here: {error}"));
        }
        self.log_unlogged(found, args)
    }

    /// What a command answered that failed before it had changed anything, or
    /// what one within a transaction did.
    fn failure(&mut self, dirty_before: u64) -> Option<String> {
        let failed = self.reply.buf.first() == Some(&b'-');
        let own = failed && self.session.tally.dirty == dirty_before;
        let text = || String::from_utf8_lossy(&self.reply.buf).trim().to_string();
        self.session.misfit.take().or_else(|| own.then(text))
    }

    /// Without a lock of its own a command has not been logged.
    fn log_unlogged(&mut self, found: Found, args: &[&[u8]]) -> Result<(), String> {
        self.reply.truncate(0);
        if let Some(part) = self.session.stream_part.take() {
            debug_assert!(
                found.command.name == "exec"
                    || stripes_of(found.command, args) == StripeSet::default()
            );
            self.log_aside(&part);
        }
        Ok(())
    }
}
