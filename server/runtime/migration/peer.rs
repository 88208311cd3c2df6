//! The source's connection to the target: one thread reads, the migration's own
//! thread writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use redoubt_cluster::slot_migration::Message;

use super::LOOK;
use crate::cluster::migration::Job;
use crate::commands::effects::encode;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::state::Server;
use crate::stats::add;

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
    stream: TcpStream,
    job: Arc<Job>,
    heard: Receiver<Heard>,
    closed: bool,
}

impl Peer {
    /// Connects.
    pub fn connect(
        server: &'static Server,
        job: &Arc<Job>,
        address: SocketAddr,
        patience: Duration,
    ) -> io::Result<Peer> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
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
            stream,
            job: job.clone(),
            heard,
            closed: false,
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
}

impl Drop for Peer {
    fn drop(&mut self) {
        // So that the thread that reads ends.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
                    ) => {}
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
