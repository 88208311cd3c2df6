//! One connection's input and output on its worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::commands::transaction;
use crate::connection::blocking::Waiter;
use crate::connection::client::Client;
use crate::connection::pipeline::{Pipeline, Stop};
use crate::connection::pubsub::Kind;
use crate::connection::session::Session;
use crate::resp::reply::ReplyBuffer;
use crate::state::{Server, unix_ms};
use crate::stats::add;

/// A read buffer begins with this much room.
const READ_BYTES: usize = 16 << 10;
/// Buffers larger than this are given back when they are empty.
const KEPT_BYTES: usize = 64 << 10;

/// Serves a client until it goes, or is made to go.
pub async fn serve<S>(server: &'static Server, client: Arc<Client>, stream: S, worker: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authenticated = !server.settings.password_needed.load(Ordering::Relaxed);
    let mut connection = Connection {
        session: Session::new(client.clone(), authenticated),
        reply: ReplyBuffer::new(client.protocol()),
        input: Vec::new(),
        start: 0,
        wanted: 0,
        pipeline: Pipeline::default(),
        server,
        stream,
        worker,
    };
    let _ = connection.run().await;
    connection.farewell();
}

struct Connection<S> {
    server: &'static Server,
    session: Session,
    stream: S,
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

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
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
        self.wait_while_paused().await?;
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
        let stop = pipeline.run(server, session, input, start, reply);
        match stop {
            Stop::NeedsInput(bytes) => {
                self.compact();
                self.wanted = bytes;
                self.flush().await
            }
            Stop::HasMore => {
                self.wanted = 0;
                self.flush().await
            }
            Stop::Blocked(waiter, timeout_ms) => {
                self.wanted = 0;
                self.flush().await?;
                self.wait_blocked(&waiter, timeout_ms).await
            }
            Stop::Close => {
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
        } else {
            self.input.drain(..self.start);
        }
        self.start = 0;
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
        let idle_s = self.server.settings.timeout_s.load(Ordering::Relaxed);
        let deadline = (idle_s > 0 && !self.session.is_subscriber())
            .then(|| Instant::now() + Duration::from_secs(idle_s as u64));
        let client = self.session.client.clone();
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.input) => {
                let read = read.map_err(|_| Gone)?;
                if read == 0 {
                    return Err(Gone);
                }
                add(&client.bytes_in, read as u64);
                add(&self.server.stats.bytes_in, read as u64);
                let limit = self.server.settings.query_buffer_limit.load(Ordering::Relaxed);
                if limit != 0 && self.input.len() as u64 > limit {
                    tracing::warn!(client = client.id, "closing a client beyond client-query-buffer-limit");
                    return Err(Gone);
                }
                client.query_bytes.store(self.input.len() as u64, Ordering::Relaxed);
                Ok(())
            }
            () = client.bell.notified() => self.flush().await,
            () = async { sleep_until(deadline.unwrap_or_else(Instant::now)).await },
                if deadline.is_some() => Err(Gone),
        }
    }

    /// Sends replies and pushes, once all that they may tell of is durable.
    async fn flush(&mut self) -> Result<(), Gone> {
        let client = self.session.client.clone();
        if client.killed.load(Ordering::Acquire) {
            return Err(Gone);
        }
        client.take_outbox(&mut self.reply.buf);
        if self.reply.is_empty() {
            return Ok(());
        }
        if self.server.settings.sync_always.load(Ordering::Relaxed) {
            self.wait_synced().await?;
        }
        let limit = self
            .server
            .settings
            .normal_output_limit
            .load(Ordering::Relaxed);
        if limit != 0 && self.reply.len() as u64 > limit {
            return Err(Gone);
        }
        let sent = self.reply.len() as u64;
        self.write_all().await?;
        add(&client.bytes_out, sent);
        add(&self.server.stats.bytes_out, sent);
        self.reply.truncate(0);
        if self.reply.buf.capacity() > KEPT_BYTES {
            self.reply.buf = Vec::new();
        }
        Ok(())
    }

    /// Writes the reply buffer; a kill ends the wait for a slow reader.
    async fn write_all(&mut self) -> Result<(), Gone> {
        let client = self.session.client.clone();
        let mut written = 0;
        while written < self.reply.buf.len() {
            let write = self.stream.write(&self.reply.buf[written..]);
            tokio::pin!(write);
            loop {
                tokio::select! {
                    biased;
                    result = &mut write => {
                        let bytes = result.map_err(|_| Gone)?;
                        if bytes == 0 {
                            return Err(Gone);
                        }
                        written += bytes;
                        break;
                    }
                    () = client.bell.notified() => {
                        if client.killed.load(Ordering::Acquire) {
                            return Err(Gone);
                        }
                    }
                }
            }
            if written < self.reply.buf.len() {
                continue;
            }
        }
        // A bell that rang for more output meanwhile must not be lost.
        if client.outbox_bytes() != 0 {
            client.bell.notify_one();
        }
        Ok(())
    }

    /// Waits until the log is durable up to its end as of now (I3).
    async fn wait_synced(&mut self) -> Result<(), Gone> {
        let Some(log) = self.server.log() else {
            return Ok(());
        };
        let wanted = log.end();
        loop {
            let bell = self.server.synced_bells[self.worker].notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            if log.synced() >= wanted {
                return Ok(());
            }
            if log.failure().is_some() {
                // What was not made durable is never acknowledged (I6).
                return Err(Gone);
            }
            bell.await;
        }
    }

    async fn wait_while_paused(&mut self) -> Result<(), Gone> {
        loop {
            let until_ms = self.server.pause_until_ms.load(Ordering::Relaxed);
            let left_ms = until_ms - unix_ms();
            if left_ms <= 0 || self.server.pause_writes_only.load(Ordering::Relaxed) {
                return Ok(());
            }
            let unpaused = self.server.unpaused.notified();
            let _ = timeout(Duration::from_millis(left_ms as u64), unpaused).await;
            if self.session.client.killed.load(Ordering::Acquire) {
                return Err(Gone);
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
                () = client.bell.notified() => {
                    gone = client.killed.load(Ordering::Acquire);
                }
                read = self.stream.read_buf(&mut self.input), if self.input.len() < (1 << 20) => {
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
        if reply && !waiter.silent {
            waiter.reply_timeout(&mut self.reply);
        }
        waiter.finish();
    }

    /// Takes the client out of everything it was part of.
    fn farewell(&mut self) {
        let client = self.session.client.clone();
        transaction::abandon(&self.server, &mut self.session);
        for (kind, names) in [Kind::Channel, Kind::Pattern, Kind::Shard]
            .into_iter()
            .zip(std::mem::take(&mut self.session.subscriptions))
        {
            names
                .iter()
                .for_each(|name| self.server.pubsub.unsubscribe(kind, name, &client));
        }
        if client.monitor.load(Ordering::Relaxed) {
            let mut monitors = self.server.monitors.write();
            monitors.retain(|other| other.id != client.id);
            self.server
                .monitored
                .store(!monitors.is_empty(), Ordering::Relaxed);
        }
        self.server.clients.remove(client.id);
    }
}
