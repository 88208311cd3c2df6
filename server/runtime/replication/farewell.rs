//! What a replica is still owed when its primary stops being one.
//!
//! A command that was answered before REPLICAOF has long been sent by a Redis
//! primary, whose event loop writes to replicas before it goes on. Feeders
//! have threads of their own; they make up for what they have not sent yet.

use std::io::Write;
use std::time::{Duration, Instant};

use redoubt_persistence::log::LogReader;
use socket2::Socket;

use super::feeder::{CHUNK_BYTES, End};
use crate::state::Server;

/// A replica that takes longer gets the rest from whom it follows next.
const PATIENCE: Duration = Duration::from_millis(500);
/// The log's writer is looked for as often.
const LOOK: Duration = Duration::from_millis(5);

/// Sends what the log has below the offset `owed`, as far as the replica takes
/// it at once.
pub(super) fn send_rest(
    server: &Server,
    mut socket: &Socket,
    reader: &mut LogReader,
    owed: u64,
) -> Result<(), End> {
    let (bell, deadline) = (&server.replication.log_bell, Instant::now() + PATIENCE);
    let mut chunk = Vec::new();
    while reader.offset().0 < owed && Instant::now() < deadline {
        let seen = bell.rings();
        chunk.clear();
        let most = CHUNK_BYTES.min((owed - reader.offset().0) as usize);
        match reader.next(&mut chunk, most)? {
            0 => bell.wait(seen, LOOK),
            _ => socket.write_all(&chunk)?,
        }
    }
    Ok(())
}
