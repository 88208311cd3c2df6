//! Why a link to a primary ends.

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be had, or ended.
    Lost,
    /// Silence for too long.
    TimedOut,
    /// The primary said so.
    Refused(String),
    /// The primary sent something that is not of the protocol.
    Nonsense(String),
    /// We gave it up ourselves.
    GivenUp,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Lost => f.write_str("the connection is lost"),
            Failure::TimedOut => f.write_str("timeout: nothing came for too long"),
            Failure::Refused(text) => write!(f, "the primary answers: {text}"),
            Failure::Nonsense(text) => write!(f, "the primary sends nonsense: {text}"),
            Failure::GivenUp => f.write_str("given up"),
        }
    }
}
