//! What a client sees when a command fails. `Display` is the exact wire text,
//! without the leading `-`.

use std::fmt;

use crate::keyspace::db::DbError;

/// What a command returns; its reply has been written when it is `Ok`.
pub type CommandResult = Result<(), CommandError>;

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// The arguments don't fit together.
    Syntax,
    /// Not a 64-bit decimal.
    NotInteger,
    /// Not a floating point number.
    NotFloat,
    /// An index beyond the end.
    IndexOutOfRange,
    /// The key must exist.
    NoSuchKey,
    /// Memory is full and nothing may be evicted.
    OutOfMemory,
    /// Wrong number of arguments; holds the command's name.
    Arity(String),
    /// An expiry that is not positive or overflows; holds the command's name.
    InvalidExpire(String),
    /// A string that would pass 512 MB.
    StringTooLong,
    /// Reading from the tree or writing to the log failed.
    Storage(String),
    /// Its slot is about to change hands: it is to be tried again in a moment.
    /// Clients never see this.
    Paused,
    /// Any other text, with its first word.
    Text(String),
}

impl CommandError {
    /// `ERR` and a text.
    pub fn err(text: impl fmt::Display) -> CommandError {
        CommandError::Text(format!("ERR {text}"))
    }

    /// A text that brings its own first word.
    pub fn text(text: impl Into<String>) -> CommandError {
        CommandError::Text(text.into())
    }

    /// A number outside the stated bounds.
    pub fn out_of_range(text: &str) -> CommandError {
        CommandError::Text(format!("ERR {text}"))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            CommandError::Syntax => f.write_str("ERR syntax error"),
            CommandError::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            CommandError::NotFloat => f.write_str("ERR value is not a valid float"),
            CommandError::IndexOutOfRange => f.write_str("ERR index out of range"),
            CommandError::NoSuchKey => f.write_str("ERR no such key"),
            CommandError::OutOfMemory => {
                f.write_str("OOM command not allowed when used memory > 'maxmemory'.")
            }
            CommandError::Arity(name) => {
                write!(f, "ERR wrong number of arguments for '{name}' command")
            }
            CommandError::InvalidExpire(name) => {
                write!(f, "ERR invalid expire time in '{name}' command")
            }
            CommandError::StringTooLong => {
                f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            CommandError::Storage(text) => write!(f, "ERR storage failure: {text}"),
            CommandError::Paused => f.write_str("TRYAGAIN The slot is about to change hands"),
            CommandError::Text(text) => f.write_str(text),
        }
    }
}

impl From<DbError> for CommandError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::WrongType => CommandError::WrongType,
            DbError::Storage(text) => CommandError::Storage(text),
        }
    }
}
