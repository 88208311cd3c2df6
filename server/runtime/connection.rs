//! One connection's input and output on its worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::rounds;
use super::socket::ClientSocket;
use crate::commands::{pubsub, transaction};
use crate::connection::blocking::Waiter;
use crate::connection::client::Client;
use crate::connection::gate;
use crate::connection::pipeline::{Pipeline, Stop};
use crate::connection::serve::count_unserved;
use crate::connection::session::Session;
use crate::resp::reply::ReplyBuffer;
use crate::settings::OutputLimit;
use crate::state::{Server, Storage, unix_ms};
use crate::stats::{add, add_alone};

/// A read buffer begins with this much room.
const READ_BYTES: usize = 16 << 10;
/// Buffers larger than this are given back when they are empty.
const KEPT_BYTES: usize = 64 << 10;
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
}

struct Connection {
    server: &'static Server,
    session: Session,
    socket: ClientSocket,
    worker: usize,
    reply: ReplyBuffer,
    input: Vec<u8>,
    /// Bytes of `input` that have been run.
    start: usize,
    /// Bytes that `input` must have before there is anything new to run.
    wanted: usize,
    pipeline: Pipeline,
}

/// The connection is over.
struct Gone;

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
        rounds::count(server);
        if rounds::is_busy() && pipeline.look_ahead(server, session, input, *start) {
            rounds::others_first().await;
        }
        let stop = pipeline.run(server, session, input, start, reply);
        if std::mem::take(&mut session.wrote) {
            hold_up(server).await;
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
            Stop::Cold(read) => {
                self.wanted = 0;
                self.flush().await?;
                let _ = read.await;
                Ok(())
            }
            Stop::Blocked(waiter, timeout_ms) => {
                self.wanted = 0;
                self.flush().await?;
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
            self.input.clear();
            if self.input.capacity() > KEPT_BYTES {
                self.input = Vec::new();
            }
            self.pipeline.shrink_large();
        } else {
            self.input.drain(..self.start);
        }
        self.start = 0;
        self.show_query_buffer();
    }

    fn show_query_buffer(&self) {
        let client = &self.session.client;
        let (used, room) = (self.input.len() as u64, self.input.capacity() as u64);
        client.query_bytes.store(used, Ordering::Relaxed);
        client
            .query_free_bytes
            .store(room - used, Ordering::Relaxed);
    }

    /// Gives back the room of buffers that nothing is in, or little.
    fn shrink(&mut self) {
        if self.start == 0 {
            self.input.shrink_to_fit();
            self.show_query_buffer();
        }
        self.pipeline.shrink();
        if self.reply.is_empty() {
            self.reply.buf = Vec::new();
        }
    }

    /// Waits for input, or for something to send.
    async fn read_or_send(&mut self) -> Result<(), Gone> {
        let room = self
            .wanted
            .saturating_sub(self.input.len())
            .clamp(READ_BYTES, 1 << 20);
        if self.input.capacity() - self.input.len() < READ_BYTES / 4 {
            self.input.reserve(room);
        }
        let client = &self.session.client;
        let read = tokio::select! {
            biased;
            read = self.socket.receive(&mut self.input) => Some(read.map_err(|_| Gone)?),
            () = client.bell.rung() => None,
        };
        match read {
            Some(0) => Err(Gone),
            Some(read) => {
                add_alone(&client.bytes_in, read as u64);
                add(&self.server.stats.bytes_in, read as u64);
                self.check_query_buffer()
            }
            None => {
                if client.idle_buffers.swap(false, Ordering::Relaxed) {
                    self.shrink();
                }
                self.flush().await
            }
        }
    }

    /// Ends a connection that sends too much without its being a request.
    fn check_query_buffer(&self) -> Result<(), Gone> {
        let server = self.server;
        let mut limit = server.settings.query_buffer_limit.load(Ordering::Relaxed);
        if !self.session.authenticated && gate::password_needed(server) {
            limit = UNAUTHENTICATED_QUERY_BYTES;
        }
        let waiting = (self.input.len() - self.start) as u64;
        if limit != 0 && waiting > limit {
            let client = self.session.client.id;
            tracing::warn!(client, "closing a client beyond client-query-buffer-limit");
            add(&server.stats.query_limit_closes, 1);
            return Err(Gone);
        }
        self.show_query_buffer();
        self.account_memory()?;
        if self.input.len() >= self.wanted {
            self.session.client.query_bytes.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends replies and pushes, once all that they may tell of is durable.
    async fn flush(&mut self) -> Result<(), Gone> {
        let client = &self.session.client;
        if client.killed.load(Ordering::Acquire) {
            return Err(Gone);
        }
        client.take_outbox(&mut self.reply.buf);
        if self.reply.is_empty() {
            return self.account_memory();
        }
        if self.server.settings.sync_always.load(Ordering::Relaxed) {
            self.wait_synced().await?;
        }
        let sent = self.reply.len() as u64;
        let client = &self.session.client;
        client.unsent_bytes.store(sent, Ordering::Relaxed);
        client.enforce(output_limit(self.server, client));
        self.account_memory()?;
        self.write_all().await?;
        let client = &self.session.client;
        client.unsent_bytes.store(0, Ordering::Relaxed);
        add_alone(&client.bytes_out, sent);
        add(&self.server.stats.bytes_out, sent);
        self.reply.truncate(0);
        if self.reply.buf.capacity() > KEPT_BYTES {
            self.reply.buf = Vec::new();
        }
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

    /// Writes the reply buffer; a kill ends the wait for a slow reader.
    async fn write_all(&mut self) -> Result<(), Gone> {
        let client = &self.session.client;
        let mut written = 0;
        while written < self.reply.buf.len() {
            let bytes = tokio::select! {
                biased;
                bytes = self.socket.send(&self.reply.buf[written..]) => Some(bytes.map_err(|_| Gone)?),
                () = client.bell.rung() => None,
            };
            match bytes {
                Some(0) => return Err(Gone),
                Some(bytes) => {
                    written += bytes;
                    let left = self.reply.buf.len() - written;
                    client.unsent_bytes.store(left as u64, Ordering::Relaxed);
                }
                None => {
                    self.server.client_memory.account(self.server, client);
                    if client.killed.load(Ordering::Acquire) {
                        return Err(Gone);
                    }
                }
            }
        }
        // A bell that rang for more output meanwhile must not be lost.
        if client.outbox_bytes() != 0 {
            client.bell.ring();
        }
        Ok(())
    }

    /// Waits until the log is durable up to its end as of now (I3).
    async fn wait_synced(&mut self) -> Result<(), Gone> {
        let Some(Storage { log, .. }) = self.server.storage() else {
            return Ok(());
        };
        let (server, wanted) = (self.server, log.end());
        let attempts = self.server.health.failed_mends.load(Ordering::Relaxed);
        loop {
            let alarms = server.durable.alarms();
            let required = server.settings.sync_always.load(Ordering::Relaxed);
            if !required || log.synced() >= wanted {
                return Ok(());
            }
            if log.failure().is_some() {
                if gate::only_refusals(&self.reply.buf) {
                    return Ok(());
                }
                // What was not made durable is never acknowledged (I6).
                if self.server.health.failed_mends.load(Ordering::Relaxed) != attempts {
                    return Err(Gone);
                }
            } else if log.is_stalled() && gate::only_refusals(&self.reply.buf) {
                return Ok(());
            }
            log.wait_in_round();
            server.durable.wait(self.worker, log, wanted, alarms).await;
        }
    }

    /// Waits for the end of CLIENT PAUSE (what others send goes on), or of a script.
    async fn wait_while_paused(&mut self) -> Result<(), Gone> {
        let (server, client) = (self.server, self.session.client.clone());
        if !crate::connection::pause::is_on(server, unix_ms()) {
            sleep(Duration::from_millis(5)).await;
            return Ok(());
        }
        client.postponed.store(true, Ordering::Relaxed);
        server.blocked.postpone();
        let ended = self.wait_for_unpause(server, &client).await;
        server.blocked.resume();
        client.postponed.store(false, Ordering::Relaxed);
        ended
    }

    async fn wait_for_unpause(
        &mut self,
        server: &'static Server,
        client: &Client,
    ) -> Result<(), Gone> {
        loop {
            let unpaused = server.unpaused.notified();
            tokio::pin!(unpaused);
            unpaused.as_mut().enable();
            let left_ms = server.pause_until_ms.load(Ordering::Relaxed) - unix_ms();
            if left_ms <= 0 {
                return Ok(());
            }
            if self.input.capacity() == self.input.len() {
                self.input.reserve(READ_BYTES);
            }
            tokio::select! {
                () = unpaused => {}
                () = sleep(Duration::from_millis(left_ms as u64)) => {}
                () = client.bell.rung() => self.flush().await?,
                read = self.socket.receive(&mut self.input), if self.input.len() < (1 << 20) => {
                    if !matches!(read, Ok(bytes) if bytes > 0) {
                        return Err(Gone);
                    }
                }
            }
        }
    }

    /// Waits until a blocked command is answered, its time is over, or the
    /// client is gone.
    async fn wait_blocked(&mut self, waiter: &Arc<Waiter>, timeout_ms: u64) -> Result<(), Gone> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(1 << 50));
        let client = self.session.client.clone();
        while !waiter.is_done() {
            if self.input.capacity() == self.input.len() {
                self.input.reserve(READ_BYTES);
            }
            let mut gone = false;
            tokio::select! {
                biased;
                () = client.bell.rung() => {
                    gone = client.killed.load(Ordering::Acquire);
                }
                read = self.socket.receive(&mut self.input), if self.input.len() < (1 << 20) => {
                    let read = read.unwrap_or(0);
                    gone = read == 0;
                    add(&client.bytes_in, read as u64);
                    add(&self.server.stats.bytes_in, read as u64);
                }
                () = sleep_until(deadline), if timeout_ms != 0 => {
                    if waiter.take() {
                        self.end_wait(waiter, true);
                    } else {
                        // It is being served at this moment.
                        tokio::task::yield_now().await;
                    }
                }
            }
            if gone {
                self.withdraw(waiter).await;
                return Err(Gone);
            }
        }
        *client.waiter.lock() = None;
        self.flush().await
    }

    /// Takes a client that is gone out of the queues. If it is being served
    /// right now, that may yet end with its being put back.
    async fn withdraw(&mut self, waiter: &Waiter) {
        while !waiter.is_done() {
            if waiter.take() {
                self.end_wait(waiter, false);
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn end_wait(&mut self, waiter: &Waiter, reply: bool) {
        self.server.blocked.remove(waiter);
        if reply {
            count_unserved(self.server, waiter, false);
        }
        if reply && !waiter.silent {
            waiter.reply_timeout(&mut self.reply);
        }
        waiter.finish();
    }

    /// Takes the client out of everything it was part of.
    fn farewell(&mut self) {
        let client = self.session.client.clone();
        transaction::abandon(self.server, &mut self.session);
        pubsub::leave_all(self.server, &mut self.session);
        crate::monitor::leave(self.server, &client);
        self.server.tracking.disable(&client);
        self.server.client_memory.forget(&client);
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

/// The limit on what a client has not taken yet.
pub fn output_limit<'s>(server: &'s Server, client: &Client) -> &'s OutputLimit {
    if client.is_subscriber() {
        &server.settings.pubsub_output_limit
    } else {
        &server.settings.normal_output_limit
    }
}
