//! RESP, the protocol between clients and the server: bytes to requests, and
//! replies to bytes. No sockets, no commands.
//!
//! - [`request`]: the incremental parser on the hot path.
//! - [`split`]: quoting rules of inline commands and of the configuration file.
//! - [`stream`]: the commands of a log or of another node.
//! - [`reply`]: the buffer that replies are encoded into, in RESP2 or RESP3.

pub mod reply;
pub mod request;
pub mod split;
pub mod stream;

/// The protocol version that a connection speaks; HELLO changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The version every connection starts with.
    #[default]
    Resp2,
    /// Typed replies: maps, sets, doubles, booleans, nulls, pushes.
    Resp3,
}
