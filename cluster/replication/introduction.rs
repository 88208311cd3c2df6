//! How a replica introduces itself to its primary.

/// What the replica tells of itself, and how patient it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user to log in as; empty: only a password.
    pub user: Vec<u8>,
    /// The password; empty: no login.
    pub password: Vec<u8>,
    /// The port that others reach it on.
    pub port: u16,
    /// The address that others reach it on, if it isn't the link's.
    pub announced_ip: Vec<u8>,
    /// The version it claims.
    pub version: &'static str,
    /// Silence for so long is the end of a link.
    pub timeout_ms: u64,
    /// Pause before the next attempt.
    pub retry_ms: u64,
    /// Time between acknowledgements.
    pub ack_ms: u64,
    /// Ask for a failover: the primary hands over when this has its data.
    pub failover: bool,
}
