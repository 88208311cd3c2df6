//! Replication without sockets: who may go on from where, and the two sides of
//! a link.
//!
//! ```text
//! replica (link.rs)                        primary (peer.rs, history.rs)
//!   PING                              ──►
//!                                     ◄──  +PONG
//!   AUTH, REPLCONF listening-port …   ──►
//!                                     ◄──  +OK for each
//!   INFO replication                  ──►  (if it has data: its own may go on
//!                                     ◄──  beyond where the histories part)
//!   PSYNC <id> <offset + 1>           ──►
//!                                     ◄──  +CONTINUE <id>, then the stream, or
//!                                          +FULLRESYNC <id> <offset>, newlines,
//!                                          $<length> or $EOF:<mark>, an RDB file,
//!                                          [the mark,] then the stream
//!   REPLCONF ACK <offset> FACK <synced> ─►  (each second, and on GETACK)
//! ```
//!
//! An offset counts the bytes of the stream before it. On the wire PSYNC names
//! the first byte wanted, counted from one: offset + 1.
//!
//! Source: the documentation of replication of Redis and Valkey, and what
//! their servers send.

mod failure;
pub mod history;
mod introduction;
pub mod link;
mod payload;
pub mod peer;
#[cfg(test)]
mod simulation;

use std::fmt;

/// Names a history: forty characters, random. Whoever has the same bytes up to
/// an offset has the same id there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicationId([u8; 40]);

impl ReplicationId {
    /// Reads an id as it is written.
    pub fn parse(text: &[u8]) -> Option<ReplicationId> {
        let bytes: [u8; 40] = text.try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(ReplicationId(bytes))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
