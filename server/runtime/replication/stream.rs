//! The log, to one replica: all of it while it grows, and what is still owed
//! once its primary is one no more.
//!
//! A command that was answered before REPLICAOF has long been sent by a Redis
//! primary, whose event loop writes to replicas before it goes on. Feeders
//! have threads of their own; they make up for what they have not sent yet.

use std::time::{Duration, Instant};

use redoubt_persistence::log::{LogError, LogReader};

use super::feeder::{End, Feeder, LOOK};
use crate::state::Storage;
use crate::storage::LogHold;

/// Bytes of the log that are read and sent at a time.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// A replica that takes longer for what it is owed gets it from whom it
/// follows next.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far a replica's stream may go.
struct Bound {
    /// The log offset before which it stops.
    until: u64,
    /// Whether it never goes on from there.
    last: bool,
}

impl Feeder {
    pub(super) fn send_stream(
        &mut self,
        storage: &Storage,
        mut reader: LogReader,
        hold: &LogHold,
    ) -> Result<(), End> {
        let bell = &self.server.replication.log_bell;
        // The less of it waits for the log's writer, the less a crash loses.
        let _closely = storage.log.hasten();
        let mut chunk = std::mem::take(&mut self.buffers.chunk);
        loop {
            let (at, seen) = (reader.offset().0, bell.rings());
            chunk.clear();
            let read = reader.next(&mut chunk, CHUNK_BYTES);
            if read.map_err(|error| unreadable(storage, at, error))? != 0 {
                self.send_chunk(at, &chunk)?;
                self.keep_from(hold, reader.offset().0.min(storage.log.end().0));
                continue;
            }
            let bound = self.bound();
            if bound.last && bound.until <= at {
                return Ok(());
            }
            bell.wait(seen, LOOK);
        }
    }

    /// Sends what the log has at the offset `at`, as far as the replica may
    /// have it, however long it takes it.
    fn send_chunk(&mut self, mut at: u64, mut chunk: &[u8]) -> Result<(), End> {
        let bell = &self.server.replication.log_bell;
        while !chunk.is_empty() {
            let seen = bell.rings();
            let bound = self.bound();
            let most = chunk.len().min(bound.until.saturating_sub(at) as usize);
            if most != 0 {
                let sent = self.write_some(&chunk[..most])?;
                chunk = &chunk[sent..];
                at += sent as u64;
            } else if bound.last {
                return Err(End::Gone);
            } else {
                bell.wait(seen, LOOK);
            }
        }
        Ok(())
    }

    /// To be asked for after the log was read: what is read by then was
    /// bounded before it was logged.
    fn bound(&mut self) -> Bound {
        // A fence is lifted only after links were ended because of it.
        let fence = self.server.replication.replicas.fence();
        if !self.is_over() {
            return Bound {
                until: fence,
                last: false,
            };
        }
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + PATIENCE);
        let until = match now < deadline {
            true => self.replica.owed(),
            false => 0,
        };
        Bound { until, last: true }
    }
}

/// Why the log at the offset `at` can't be sent. Where the tree has taken over
/// what is damaged, nobody but a replica has lost anything.
fn unreadable(storage: &Storage, at: u64, error: LogError) -> End {
    let readable = storage.log.oldest_readable().0;
    let applied = storage.tree.meta().map_or(0, |meta| meta.offset);
    match error {
        LogError::Corrupt {
            path,
            position,
            reason,
        } if (at + 1..=applied).contains(&readable) => End::Failed(format!(
            "{} is damaged at byte {position}: {reason}. This server's own data is not affected, \
             the tree has it; replicas that are not yet behind this file get a full sync",
            path.display()
        )),
        error => error.into(),
    }
}
