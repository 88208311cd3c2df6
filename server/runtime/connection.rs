//! One connection's input and output on its worker.

pub mod buffers;
mod waiting;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use self::buffers::{KEPT_BYTES, READ_BYTES};
use super::socket::ClientSocket;
use super::{durable, rounds};
use crate::commands::{pubsub, transaction};
use crate::connection::client::Client;
use crate::connection::pipeline::{Pipeline, Stop};
use crate::connection::session::Session;
use crate::connection::{gate, output};
use crate::resp::reply::ReplyBuffer;
use crate::state::{Server, unix_ms};
use crate::stats::{Total, add, add_alone};

/// What a client that has not logged in may send without its being a request.
const UNAUTHENTICATED_QUERY_BYTES: u64 = 1 << 20;

/// Serves a client until it goes, or is made to go.
pub async fn serve(
    server: &'static Server,
    client: Arc<Client>,
    socket: ClientSocket,
    worker: usize,
) {
    let mut session = Session::new(client.clone(), false);
    server.acl.begin(&mut session);
    let mut connection = Connection {
        session,
        reply: ReplyBuffer::new(client.protocol()),
        sent: 0,
        input: Vec::new(),
        start: 0,
        wanted: 0,
        pipeline: Pipeline::default(),
        server,
        socket,
        worker,
    };
    let _ = connection.run().await;
    let rest = connection.input.split_off(connection.start);
    if !super::replication::feeder::take_over(server, &mut connection.session, rest) {
        connection.farewell();
    }
    client.has_left();
}

struct Connection {
    server: &'static Server,
    session: Session,
    socket: ClientSocket,
    worker: usize,
    reply: ReplyBuffer,
    /// Bytes of `reply` that have been sent.
    sent: usize,
    input: Vec<u8>,
    /// Bytes of `input` that have been run.
    start: usize,
    /// Bytes that `input` must have before there is anything new to run.
    wanted: usize,
    pipeline: Pipeline,
}

/// The connection is over.
struct Gone;

/// What ended a wait for the peer to take output.
enum Done {
    Sent(io::Result<usize>),
    Rung,
    Received(io::Result<usize>),
}

impl Connection {
    async fn run(&mut self) -> Result<(), Gone> {
        loop {
            if self.input.len() - self.start >= self.wanted && self.start < self.input.len() {
                self.work().await?;
            } else {
                self.read_or_send().await?;
            }
        }
    }

    /// Runs what has arrived.
    async fn work(&mut self) -> Result<(), Gone> {
        let Connection {
            server,
            session,
            reply,
            input,
            start,
            pipeline,
            ..
        } = self;
        reply.protocol = session.client.protocol();
        if reply.buf.capacity() == 0 {
            reply.buf = buffers::take();
        }
        rounds::count(server);
        if rounds::is_busy() && pipeline.look_ahead(server, session, input, *start) {
            rounds::others_first().await;
        }
        let stop = pipeline.run(server, session, input, start, reply);
        if std::mem::take(&mut session.wrote) {
            hold_up(server).await;
        }
        if self.session.transaction.is_some() {
            self.check_query_buffer()?;
        }
        match stop {
            Stop::NeedsInput(bytes) => {
                self.compact();
                self.wanted = bytes;
                if rounds::is_busy() {
                    // Others of this worker are about to run as well: replies
                    // go out together, so that a peer that sleeps is woken
                    // once for all of them.
                    rounds::others_first().await;
                }
                self.flush().await
            }
            Stop::HasMore => {
                self.wanted = 0;
                self.flush().await
            }
            Stop::Paused => {
                self.wanted = 0;
                self.flush().await?;
                self.wait_while_paused().await
            }
            Stop::PutOff => {
                self.wanted = 0;
                self.flush().await?;
                self.wait_to_try_again().await;
                Ok(())
            }
            Stop::Cold(read) => {
                self.wanted = 0;
                self.flush().await?;
                self.wait_cold(read).await
            }
            Stop::Blocked(waiter, timeout_ms) => {
                self.wanted = 0;
                self.wait_blocked(&waiter, timeout_ms).await?;
                self.session.client.count_command();
                Ok(())
            }
            Stop::Close => {
                self.session.client.closing.store(true, Ordering::Relaxed);
                self.flush().await?;
                Err(Gone)
            }
        }
    }

    /// Drops what has been run from the input buffer.
    fn compact(&mut self) {
        if self.start == self.input.len() {
            buffers::give(&mut self.input);
            self.pipeline.shrink_large();
        } else {
            self.is_active();
            self.input.drain(..self.start);
            if self.input.len() < KEPT_BYTES && self.input.capacity() > 2 * KEPT_BYTES {
                self.input.shrink_to(KEPT_BYTES);
            }
        }
        self.start = 0;
        self.show_query_buffer();
    }

    /// Notes that bytes have come or gone, though no command has begun: what takes
    /// long to come or go is no idleness.
    fn is_active(&self) {
        let client = &self.session.client;
        client.active_ms.store(unix_ms(), Ordering::Relaxed);
    }

    fn show_query_buffer(&self) {
        let client = &self.session.client;
        let used = (self.input.len() - self.start) as u64;
        let room = self.input.capacity() as u64;
        client.query_bytes.store(used, Ordering::Relaxed);
        client
            .query_free_bytes
            .store(room - used, Ordering::Relaxed);
    }

    /// Gives back the room of buffers that little is in.
    fn shrink(&mut self) {
        if self.start == 0 {
            self.input.shrink_to_fit();
            self.show_query_buffer();
        }
        self.pipeline.shrink();
    }

    /// Waits for input, or for something to send.
    async fn read_or_send(&mut self) -> Result<(), Gone> {
        let unread = self.input.len();
        if unread != 0 && self.input.capacity() - unread < READ_BYTES / 4 {
            let missing = self.wanted.saturating_sub(unread);
            self.input.reserve(missing.clamp(READ_BYTES, 1 << 20));
        }
        let client = &self.session.client;
        let read = tokio::select! {
            biased;
            read = self.socket.receive(&mut self.input) => Some(read),
            () = client.bell.rung() => None,
        };
        match read {
            Some(read) => {
                self.received(read)?;
                match self.input.len() >= self.wanted {
                    true => self.session.client.query_bytes.store(0, Ordering::Relaxed),
                    false => self.is_active(),
                }
                Ok(())
            }
            None => {
                if client.idle_buffers.swap(false, Ordering::Relaxed) {
                    self.shrink();
                }
                if self.session.client.outbox_bytes() != 0 {
                    self.is_active();
                }
                self.flush().await
            }
        }
    }

    /// Makes room to read on while the next request has to wait. What a client
    /// sends meanwhile is bounded by `client-query-buffer-limit` only: behind
    /// input that is left unread nobody sees that the client has gone.
    fn make_room(&mut self) {
        if self.start > self.input.len() / 2 {
            self.compact();
        }
    }

    /// Takes note of what has been received; nothing is the end, and so is too
    /// much.
    fn received(&self, read: io::Result<usize>) -> Result<(), Gone> {
        self.count_received(read)?;
        self.check_query_buffer()
    }

    fn count_received(&self, read: io::Result<usize>) -> Result<(), Gone> {
        let Ok(read @ 1..) = read else {
            return Err(Gone);
        };
        add_alone(&self.session.client.bytes_in, read as u64);
        self.server.stats.sets.add(Total::BytesIn, read as u64);
        Ok(())
    }

    /// Whether the client has yet to log in.
    fn is_stranger(&self) -> bool {
        !self.session.authenticated && gate::password_needed(self.server)
    }

    /// Bytes that the client may send without their being run; 0 is no limit.
    fn query_buffer_limit(&self) -> u64 {
        match self.is_stranger() {
            true => UNAUTHENTICATED_QUERY_BYTES,
            false => {
                let limit = &self.server.settings.query_buffer_limit;
                limit.load(Ordering::Relaxed)
            }
        }
    }

    /// Ends a connection that sends too much without its being run: requests
    /// that are not whole, or that MULTI has queued.
    fn check_query_buffer(&self) -> Result<(), Gone> {
        let (server, limit) = (self.server, self.query_buffer_limit());
        let mut waiting = (self.input.len() - self.start) as u64;
        if !self.is_stranger() {
            // Arguments that are there count no more: each has a limit of its own.
            waiting -= waiting.min(self.pipeline.unfinished_bytes() as u64);
        }
        waiting += self.session.client.held.queued.load(Ordering::Relaxed);
        if limit != 0 && waiting > limit {
            let client = self.session.client.id;
            tracing::warn!(client, "closing a client beyond client-query-buffer-limit");
            add(&server.stats.query_limit_closes, 1);
            return Err(Gone);
        }
        self.show_query_buffer();
        self.account_memory()
    }

    /// Sends replies and pushes, once all that they may tell of has happened and is
    /// durable. If that is given up on the way, the next call goes on with it.
    async fn flush(&mut self) -> Result<(), Gone> {
        if let Some(order) = &mut self.session.order {
            if !order.comes(&self.session.client).await {
                return Err(Gone);
            }
            self.session.order = None;
            self.is_active();
        }
        let client = &self.session.client;
        if client.killed.load(Ordering::Acquire) {
            return Err(Gone);
        }
        client.take_outbox(&mut self.reply.buf);
        if self.reply.is_empty() {
            buffers::give(&mut self.reply.buf);
            return self.account_memory();
        }
        let (server, client) = (self.server, &self.session.client);
        if server.settings.sync_always.load(Ordering::Relaxed)
            && !durable::is_synced(server, self.worker, &self.reply.buf).await
        {
            return Err(Gone);
        }
        if self.session.moved_keys {
            if !durable::is_written(server, client).await {
                return Err(Gone);
            }
            self.session.moved_keys = false;
        }
        // Whoever was refused an append sees this, since it was set before.
        if self.server.closing.load(Ordering::Acquire) {
            return Err(Gone);
        }
        let sent = self.reply.len() as u64;
        let client = &self.session.client;
        let unsent = sent - self.sent as u64;
        client.unsent_bytes.store(unsent, Ordering::Relaxed);
        client.enforce(output::limit_of(self.server, client));
        self.account_memory()?;
        self.write_all().await?;
        let client = &self.session.client;
        client.unsent_bytes.store(0, Ordering::Relaxed);
        add_alone(&client.bytes_out, sent);
        self.server.stats.sets.add(Total::BytesOut, sent);
        buffers::give(&mut self.reply.buf);
        self.sent = 0;
        Ok(())
    }

    /// Counts what the client takes; that, or a limit on its output, may be its
    /// end.
    fn account_memory(&self) -> Result<(), Gone> {
        let client = &self.session.client;
        self.server.client_memory.account(self.server, client);
        match client.killed.load(Ordering::Acquire) {
            true => Err(Gone),
            false => Ok(()),
        }
    }

    /// Writes the reply buffer; a kill ends the wait for a slow reader. What a
    /// client sends is taken in meanwhile: it may read nothing until it has sent
    /// all of a long pipeline.
    async fn write_all(&mut self) -> Result<(), Gone> {
        // Most replies leave at once.
        self.sent += self
            .socket
            .send_now(&self.reply.buf[self.sent..])
            .map_err(|_| Gone)?;
        if self.sent < self.reply.buf.len() {
            self.write_rest().await?;
        }
        // A bell that rang for more output meanwhile must not be lost.
        let client = &self.session.client;
        if client.outbox_bytes() != 0 {
            client.bell.ring();
        }
        Ok(())
    }

    async fn write_rest(&mut self) -> Result<(), Gone> {
        self.make_room();
        let mut reads = self.may_read_ahead();
        while self.sent < self.reply.buf.len() {
            let client = &self.session.client;
            let done = tokio::select! {
                biased;
                bytes = self.socket.send(&self.reply.buf[self.sent..]) => Done::Sent(bytes),
                () = client.bell.rung() => Done::Rung,
                read = self.socket.receive(&mut self.input), if reads => Done::Received(read),
            };
            match done {
                Done::Sent(Ok(bytes @ 1..)) => {
                    self.sent += bytes;
                    self.is_active();
                    let left = self.reply.buf.len() - self.sent;
                    client.unsent_bytes.store(left as u64, Ordering::Relaxed);
                }
                Done::Sent(_) => return Err(Gone),
                Done::Rung => {
                    self.server.client_memory.account(self.server, client);
                    if client.killed.load(Ordering::Acquire) {
                        return Err(Gone);
                    }
                }
                // It may still read, and is told once more that this was all.
                Done::Received(Ok(0)) => reads = false,
                Done::Received(read) => {
                    self.count_received(read)?;
                    self.show_query_buffer();
                    self.account_memory()?;
                    self.make_room();
                    reads = self.may_read_ahead();
                }
            }
        }
        Ok(())
    }

    /// Whether to take in more requests while replies to earlier ones wait for
    /// their reader: until they are more than half of `client-query-buffer-limit`,
    /// since a client is not to be closed for it.
    fn may_read_ahead(&self) -> bool {
        let limit = self.query_buffer_limit();
        limit == 0 || ((self.input.len() - self.start) as u64) < limit / 2
    }

    /// Takes the client out of everything it was part of.
    fn farewell(&mut self) {
        let client = self.session.client.clone();
        transaction::abandon(self.server, &mut self.session);
        pubsub::leave_all(self.server, &mut self.session);
        crate::monitor::leave(self.server, &client);
        self.server.tracking.disable(&client);
        self.server.client_memory.forget(&client);
        waiting::forget_waiter(&client);
        self.server.clients.remove(client.id);
    }
}

/// Holds up whoever wrote while the tree falls behind (I8).
async fn hold_up(server: &Server) {
    let slow_us = server.health.slow_us.load(Ordering::Relaxed);
    if slow_us != 0 {
        add(&server.health.slowed_us, slow_us);
        sleep(Duration::from_micros(slow_us)).await;
    }
}
