//! The sketch under a key.

use std::sync::atomic::Ordering::Relaxed;

use super::sketch::{Invalid, Sketch};
use crate::commands::error::CommandError;
use crate::keyspace::db::StringRef;
use crate::keyspace::limits::LIMITS;

/// The sketch that a string is, its header checked.
pub fn sketch_of<'a>(string: StringRef<'a>) -> Result<Sketch<'a>, CommandError> {
    match string {
        StringRef::Bytes(bytes) => Ok(Sketch::of(bytes)?),
        StringRef::Int(_) => Err(Invalid::NotASketch.into()),
    }
}

impl From<Invalid> for CommandError {
    fn from(invalid: Invalid) -> CommandError {
        CommandError::text(match invalid {
            Invalid::NotASketch => "WRONGTYPE Key is not a valid HyperLogLog string value.",
            Invalid::Corrupt => "INVALIDOBJ Corrupted HLL object detected",
        })
    }
}

/// The longest that a sparse sketch may get, in bytes.
pub fn sparse_limit() -> usize {
    LIMITS.hll_sparse_max_bytes.load(Relaxed)
}
