//! The writer thread: takes the current group, frames it, writes it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::{Duration, Instant};

use super::blocks::BlockWriter;
use super::group::{Batch, empty_buffer};
use super::preparer::{Prepared, Preparer};
use super::record::{self, RecordHeader};
use super::segment::{SEGMENT_HEADER_BYTES, Segment, SegmentHeader};
use super::shared::Shared;
use super::{LogError, SyncPolicy, Term};
use crate::disk::BLOCK_BYTES;

/// Rounds without data after which the writer sleeps until it is woken.
const IDLE_ROUNDS: u32 = 20;

/// How long a group gathers while somebody follows the log closely.
const HASTE: Duration = Duration::from_micros(500);

/// So many groups may be written without that, and one more each interval: what
/// single clients write, one command after another, is passed on at once.
const AT_ONCE: u32 = 16;
const AT_ONCE_INTERVAL: Duration = Duration::from_micros(100);

/// How often the writer looks for space when there was none.
const SPACE_INTERVAL: Duration = Duration::from_millis(100);

/// The writer's own state.
pub struct Writer {
    pub shared: Arc<Shared>,
    pub preparer: Arc<Preparer>,
    /// The segment being written.
    pub active: Arc<Segment>,
    /// Position in its file of the next record.
    pub position: u64,
    /// CRC of the last record.
    pub chain: u32,
    /// For writes past the page cache.
    pub blocks: BlockWriter,
}

impl Writer {
    /// The thread's body; ends when the log stops or fails.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        let mut spare = empty_buffer(Vec::new());
        let mut idle_rounds = 0;
        let mut at_once = AtOnce::default();
        while shared.failure().is_none() {
            let policy = shared.policy();
            let hastened = shared.hastened.load(Acquire) != 0;
            // Read before taking: what was appended before the stop is written.
            let stopping = shared.stopping.load(Acquire);
            // Under `always`, who appends says when (see `rounds`).
            let hurried = shared.take_hurry();
            let due = hurried || stopping || policy != SyncPolicy::Always;
            let (taken, is_behind) = {
                let mut group = shared.group.lock();
                let due = due || group.is_behind || shared.sync_is_wanted();
                let taken = match due {
                    true => group.take(spare),
                    false => Err(spare),
                };
                let waits = policy == SyncPolicy::Always || hastened;
                let idle = waits || idle_rounds >= IDLE_ROUNDS;
                group.writer_parked = taken.is_err() && idle && !stopping;
                (taken, group.is_behind)
            };
            let wrote = taken.is_ok();
            match taken {
                Ok(mut batch) => {
                    if let Err(error) = self.write(&mut batch) {
                        return shared.fail(error);
                    }
                    spare = empty_buffer(batch.buffer);
                    idle_rounds = 0;
                    if policy != SyncPolicy::Always {
                        shared.announce();
                    }
                }
                Err(unused) => {
                    spare = unused;
                    idle_rounds = idle_rounds.saturating_add(1);
                }
            }
            if policy == SyncPolicy::Always {
                shared.sync_written();
            } else if shared.sync_is_wanted() {
                shared.wake_syncer();
            }
            if stopping && !wrote {
                return self.finish();
            }
            if !(is_behind || wrote && hastened && at_once.may_be()) {
                self.rest(policy, hastened, wrote, idle_rounds);
            }
        }
    }

    /// Waits for data, or for the interval in which a group gathers.
    fn rest(&self, policy: SyncPolicy, hastened: bool, wrote: bool, idle_rounds: u32) {
        if self.shared.is_hurried() || (policy == SyncPolicy::Always && wrote) {
            return;
        }
        let parked = hastened && !wrote;
        if policy == SyncPolicy::Always || parked || idle_rounds > IDLE_ROUNDS {
            thread::park();
        } else if hastened {
            thread::park_timeout(HASTE);
        } else {
            thread::park_timeout(Duration::from_millis(self.shared.options.flush_interval_ms));
        }
    }

    /// Writes one group as one record.
    fn write(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        let payload = batch.payload_bytes();
        let span = record::span(payload);
        if self.position + span > self.active.capacity {
            self.roll(batch.start, batch.term, span)?;
        }
        self.put(batch, span)?;
        self.shared.counters.wrote(payload);
        // A part of what was appended at once counts for nothing, nor does anyone
        // see it, until all of it is there.
        if !batch.continues {
            self.shared.written.store(batch.start + payload, Release);
        }
        Ok(())
    }

    /// Frames the record and writes it at the current position.
    fn put(&mut self, batch: &mut Batch, span: u64) -> Result<(), LogError> {
        let header = RecordHeader {
            length: 0,
            segment: self.active.header.id,
            offset: batch.start,
            term: batch.term.0,
            synced: self.shared.synced.load(Acquire),
            nonce: self.active.header.nonce,
            previous: self.chain,
            continues: batch.continues,
            crc: 0,
        };
        self.chain = header.seal(&mut batch.buffer);
        batch.buffer.resize(span as usize, 0);
        let written = self.hand_over(&batch.buffer);
        written.map_err(LogError::io("write", &self.active.path))?;
        self.position += span;
        self.active.written_to.store(self.position, Release);
        Ok(())
    }

    /// Writes bytes at the current position, past the page cache if they are
    /// synced at once and nobody reads them at once.
    fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, shared) = (&*self.active.file, &self.shared);
        let is_followed = shared.hastened.load(Acquire) != 0;
        let blocks_end = (self.position + bytes.len() as u64).next_multiple_of(BLOCK_BYTES);
        let fits = blocks_end <= self.active.capacity;
        if shared.policy() == SyncPolicy::Always && !is_followed && fits {
            return self.blocks.write(file, bytes, self.position);
        }
        self.blocks.forget();
        file.write_at(bytes, self.position)
    }

    /// Begins the next segment, large enough for a record of `span` bytes.
    fn roll(&mut self, start: u64, term: Term, span: u64) -> Result<(), LogError> {
        let id = self.active.header.id + 1;
        let needed = SEGMENT_HEADER_BYTES as u64 + span;
        let prepared = self.await_segment(id, needed)?;
        let io = |doing| LogError::io(doing, &prepared.path);
        let mut header = SegmentHeader::begin(id, start, term.0, self.chain);
        header.synced = self.shared.synced.load(Acquire);
        header.recycled = prepared.recycled;
        let (bytes, seed) = header.encode();
        prepared.file.write_at(&bytes, 0).map_err(io("write"))?;
        let segment = Arc::new(Segment {
            header,
            seed,
            file: prepared.file,
            path: prepared.path,
            capacity: prepared.capacity.max(needed),
            written_to: AtomicU64::new(SEGMENT_HEADER_BYTES as u64),
        });
        self.shared.segments.lock().push_back(segment.clone());
        self.active = segment;
        self.blocks.forget();
        self.position = SEGMENT_HEADER_BYTES as u64;
        self.chain = seed;
        self.preparer.prepare(id + 1);
        Ok(())
    }

    /// The prepared segment `id` with room for `needed` bytes. Without space on
    /// the disk it waits for some: nothing was written that could be lost.
    fn await_segment(&self, id: u64, needed: u64) -> Result<Prepared, LogError> {
        let mut tries = 0;
        loop {
            let prepared = self.preparer.take().and_then(|prepared| {
                assert_eq!(prepared.id, id, "segments are begun in order");
                if prepared.capacity < needed {
                    let grown = prepared.file.allocate(needed);
                    grown.map_err(LogError::io("grow", &prepared.path))?;
                }
                Ok(prepared)
            });
            let error = match prepared {
                Ok(prepared) => {
                    self.shared.set_stalled(false);
                    return Ok(prepared);
                }
                Err(error) => error,
            };
            let waits = error.is_out_of_space() && !self.shared.stopping.load(Acquire);
            // It may have failed long ago.
            if tries > 0 && !waits {
                return Err(error);
            }
            if tries == 0 {
                tracing::warn!("{error}; trying again");
            } else {
                self.shared.set_stalled(true);
                thread::park_timeout(SPACE_INTERVAL);
            }
            tries += 1;
            self.preparer.prepare(id);
        }
    }

    /// A clean end: everything durable, then an empty record that says so, by
    /// which a later loss of the last records is known for corruption.
    fn finish(mut self) {
        self.shared.sync_written();
        let span = record::span(0);
        if self.shared.failure().is_some() || self.position + span > self.active.capacity {
            return;
        }
        let mut marker = {
            let group = self.shared.group.lock();
            Batch {
                buffer: empty_buffer(Vec::new()),
                start: self.shared.written.load(Acquire),
                term: group.term(),
                continues: false,
            }
        };
        let path = self.active.path.clone();
        let ended = self.put(&mut marker, span).and_then(|()| {
            let synced = self.active.file.sync_data();
            synced.map_err(LogError::io("sync", &path))
        });
        if let Err(error) = ended {
            self.shared.fail(error);
        }
    }
}

/// How many groups may be written without gathering.
struct AtOnce {
    left: u32,
    /// When `left` was true.
    as_of: Instant,
}

impl Default for AtOnce {
    fn default() -> AtOnce {
        AtOnce {
            left: AT_ONCE,
            as_of: Instant::now(),
        }
    }
}

impl AtOnce {
    /// Takes one.
    fn may_be(&mut self) -> bool {
        let earned = self.as_of.elapsed().as_micros() / AT_ONCE_INTERVAL.as_micros();
        if earned != 0 {
            self.left = AT_ONCE.min(self.left.saturating_add(earned as u32));
            self.as_of = Instant::now();
        }
        let may = self.left != 0;
        self.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_at_once_is_bounded_and_comes_back() {
        let mut at_once = AtOnce {
            left: 0,
            as_of: Instant::now() - Duration::from_secs(1),
        };
        assert!(at_once.may_be());
        assert_eq!(at_once.left, AT_ONCE - 1);
        // It is earned far more slowly than it is taken.
        while at_once.may_be() {
            assert!(at_once.left < AT_ONCE);
        }
        std::thread::sleep(AT_ONCE_INTERVAL);
        assert!(at_once.may_be());
    }
}
