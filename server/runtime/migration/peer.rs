//! The source's connection to the target: one thread reads, the migration's own
//! thread writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use redoubt_cluster::flags::Flags;
use redoubt_cluster::slot_migration::Message;

use super::LOOK;
use crate::cluster::Cluster;
use crate::cluster::migration::{Job, Stop};
use crate::commands::effects::encode;
use crate::config::id;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::state::Server;
use crate::stats::add;

/// What the connection holds that the target has not taken.
const BUFFER_BYTES: usize = 128 << 10;

/// Why a hand-over that takes too long ends.
pub const TIMED_OUT: &str = "Slot migration timed out during slot failover";

/// What the target says.
pub enum Heard {
    /// A message.
    Message(Message),
    /// A reply to a command, without its end of line.
    Line(String),
    /// Nothing any more.
    Closed,
}

/// A connection to the target.
pub struct Peer {
    server: &'static Server,
    cluster: &'static Cluster,
    stream: TcpStream,
    job: Arc<Job>,
    heard: Receiver<Heard>,
    closed: bool,
    /// While writes are held back for the target: until when.
    pub deadline: Option<Instant>,
}

impl Peer {
    /// Connects.
    pub fn connect(
        server: &'static Server,
        cluster: &'static Cluster,
        job: &Arc<Job>,
        address: SocketAddr,
    ) -> io::Result<Peer> {
        let stream = crate::runtime::outgoing::connect(server, &address, patience(server))?;
        stream.set_nodelay(true)?;
        // What is on its way when writes are held back is what they wait for.
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(BUFFER_BYTES);
        stream.set_write_timeout(Some(LOOK))?;
        let reader = stream.try_clone()?;
        let (sender, heard) = channel();
        std::thread::Builder::new()
            .name("slot-export-in".into())
            .spawn(move || {
                hear(reader, |event| sender.send(event).is_ok());
                // Whoever listened may have gone.
                let _ = sender.send(Heard::Closed);
            })?;
        Ok(Peer {
            server,
            cluster,
            stream,
            job: job.clone(),
            heard,
            closed: false,
            deadline: None,
        })
    }

    /// Waits for what the target says, for a while.
    pub fn hear(&mut self, patience: Duration) -> Option<Heard> {
        match self.heard.recv_timeout(patience) {
            Ok(Heard::Closed) | Err(RecvTimeoutError::Disconnected) => {
                self.closed = true;
                Some(Heard::Closed)
            }
            Ok(heard) => {
                self.job.heard();
                Some(heard)
            }
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    /// Whether the target has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        let words = message.words();
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        self.send(&words)
    }

    /// Sends a command.
    pub fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes, words);
        self.write_all(&bytes)
    }

    /// Whether writes were held back for long enough.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() > end)
    }

    /// Whether to wait on for a target that has taken nothing since then.
    fn may_wait(&self, since: Instant) -> Result<(), Stop> {
        let stop = |why: &str| Err(Stop::Failed(why.into()));
        if self.is_late() {
            return stop(TIMED_OUT);
        }
        if since.elapsed() > patience(self.server) {
            return stop("Timed out");
        }
        let target = &self.job.plan.target;
        let has_failed = self.cluster.read(|bus| {
            let node = bus.table().find(target);
            let node = node.and_then(|key| bus.table().get(key));
            node.is_none_or(|node| node.is(Flags::FAIL))
        });
        match has_failed {
            true => stop("Target node has failed"),
            false => may_go_on(self.cluster, &self.job),
        }
    }
}

/// How long the target may be silent, or take nothing.
pub fn patience(server: &Server) -> Duration {
    let seconds = server.config.read().integer(id("repl-timeout"));
    Duration::from_secs(seconds.clamp(1, 3600) as u64)
}

/// Whether there is any sense in going on with an export.
pub fn may_go_on(cluster: &Cluster, job: &Job) -> Result<(), Stop> {
    if let Some(why) = job.stopped() {
        return Err(why);
    }
    match cluster.read(|bus| bus.owns_all(&job.plan.slots)) {
        true => Ok(()),
        false => Err(Stop::Failed("Slots are no longer owned by myself".into())),
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // So that the thread that reads ends.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            if self.job.stopped().is_some() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            match (&self.stream).write(bytes) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) =>
                {
                    if let Err(why) = self.may_wait(began) {
                        self.job.stop(why);
                    }
                }
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    add(&self.server.replication.sent_bytes, count as u64);
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads until the connection ends, or nobody listens.
fn hear(mut stream: TcpStream, mut tell: impl FnMut(Heard) -> bool) {
    let mut input: Vec<u8> = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => input.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        loop {
            let (heard, consumed) = match next(&input) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(()) => return,
            };
            input.drain(..consumed);
            if !tell(heard) {
                return;
            }
        }
    }
}

/// The next whole thing that was said, and its length.
fn next(input: &[u8]) -> Result<Option<(Heard, usize)>, ()> {
    match input.first() {
        None => Ok(None),
        Some(b'*') => {
            let limits = RequestLimits {
                max_bulk_bytes: 1 << 20,
                authenticated: true,
            };
            let mut ranges: Vec<Range<usize>> = Vec::new();
            match RequestParser::new().next(input, &limits, &mut ranges) {
                Ok(Parsed::Complete { consumed }) => {
                    let words: Vec<&[u8]> = ranges.iter().map(|r| &input[r.clone()]).collect();
                    let message = Message::parse(words.get(2..).unwrap_or_default());
                    message
                        .map(|message| Some((Heard::Message(message), consumed)))
                        .ok_or(())
                }
                Ok(Parsed::Incomplete { .. }) => Ok(None),
                _ => Err(()),
            }
        }
        Some(_) => match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = String::from_utf8_lossy(&input[..end]).trim_end().to_owned();
                Ok(Some((Heard::Line(line), end + 1)))
            }
            None if input.len() > 4096 => Err(()),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_messages_are_told_apart() {
        let mut bytes = b"+OK\r\n".to_vec();
        encode(&mut bytes, &[b"CLUSTER", b"SYNCSLOTS", b"REQUEST-PAUSE"]);
        let Ok(Some((Heard::Line(line), consumed))) = next(&bytes) else {
            panic!("no line");
        };
        assert_eq!(line, "+OK");
        let rest = &bytes[consumed..];
        assert!(matches!(next(&rest[..rest.len() - 1]), Ok(None)));
        let heard = next(rest);
        let whole = rest.len();
        assert!(
            matches!(heard, Ok(Some((Heard::Message(Message::RequestPause), at))) if at == whole)
        );
        assert!(next(b"*1\r\n$4\r\nPING\r\n").is_err());
    }
}
