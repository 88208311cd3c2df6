//! A cursor over the payload of the log, for replay and for replicas.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::record::{RECORD_HEADER_BYTES, RecordHeader};
use super::segment::{SEGMENT_HEADER_BYTES, Segment};
use super::shared::Shared;
use super::window::Window;
use super::{Log, LogError, Offset};

/// Reads payload bytes in order, following the writer. It costs the log
/// nothing but an open file; a segment that is trimmed meanwhile stays readable
/// until the reader leaves it.
pub struct LogReader {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    window: Window,
    /// Position in the file of the next record.
    position: u64,
    /// CRC of the last record entered.
    chain: u32,
    /// Stream offset at `position`.
    record_end: u64,
    /// The record being read, with the position of its payload.
    entered: Option<(RecordHeader, u64)>,
    /// Offset of the next byte to hand out.
    offset: u64,
}

impl Log {
    /// The oldest offset from which a reader gets to the end, as far as readers have found out:
    /// behind the segments in which they came upon something unreadable.
    pub fn oldest_readable(&self) -> Offset {
        let readable_from = Offset(self.shared.readable_from.load(Acquire));
        self.oldest().max(readable_from)
    }
}

impl LogReader {
    pub(super) fn open(shared: Arc<Shared>, from: Offset) -> Result<LogReader, LogError> {
        let end = Offset(shared.end.load(Acquire));
        let (segment, oldest) = {
            let segments = shared.segments.lock();
            let after = segments.partition_point(|s| s.header.start <= from.0);
            let found = after.checked_sub(1).map(|index| segments[index].clone());
            (found, Offset(segments[0].header.start))
        };
        let out_of_range = LogError::OutOfRange {
            asked: from,
            oldest,
            end,
        };
        let segment = segment.filter(|_| from <= end).ok_or(out_of_range)?;
        Ok(LogReader {
            shared,
            position: SEGMENT_HEADER_BYTES as u64,
            chain: segment.seed,
            record_end: segment.header.start,
            segment,
            window: Window::default(),
            entered: None,
            offset: from.0,
        })
    }

    /// The same reader, which reads ahead into `buffer`. With a capacity of
    /// [`WINDOW_BYTES`](super::WINDOW_BYTES) it need not be enlarged.
    pub fn reading_into(mut self, buffer: Vec<u8>) -> LogReader {
        self.window = Window::reading_into(buffer);
        self
    }

    /// Offset of the next byte that [`next`](LogReader::next) will yield.
    pub fn offset(&self) -> Offset {
        Offset(self.offset)
    }

    /// Appends up to `max` payload bytes to `into` and returns their number; 0
    /// means that the reader has caught up with what is written. The bytes may
    /// end in the middle of a command. After an error the reader is of no use; where
    /// there is a later segment, [`Log::oldest_readable`] is then its start.
    pub fn next(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, LogError> {
        self.read(into, max)
            .inspect_err(|error| self.note_unreadable(error))
    }

    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, LogError> {
        let mut done = 0;
        while done < max {
            let Some((record, payload_at)) = self.entered else {
                if !self.enter()? {
                    break;
                }
                continue;
            };
            let skip = self.offset - record.offset;
            let left = u64::from(record.length) - skip;
            if left == 0 {
                self.entered = None;
                continue;
            }
            let count = left.min((max - done) as u64).min(1 << 20);
            let limit = self.segment.written_to.load(Acquire);
            let at = payload_at + skip;
            let bytes = self.window.read(&*self.segment.file, at, count, limit);
            let bytes = bytes.map_err(LogError::io("read", &self.segment.path))?;
            if bytes.is_empty() {
                return Err(self.corrupt("the file has become shorter"));
            }
            into.extend_from_slice(bytes);
            self.offset += bytes.len() as u64;
            done += bytes.len();
        }
        Ok(done)
    }

    /// Enters the next record that has bytes at or after `offset`; false when
    /// there is none yet.
    fn enter(&mut self) -> Result<bool, LogError> {
        loop {
            // The writer publishes the segment, then `written_to`, then
            // `written`; so what is below `written` is found below.
            if self.record_end >= self.shared.written.load(Acquire) {
                return Ok(false);
            }
            // A segment can be empty: its records were torn off, and the next
            // record did not fit.
            while let Some(next) = self.next_segment() {
                self.window.clear();
                self.position = SEGMENT_HEADER_BYTES as u64;
                self.chain = next.seed;
                self.segment = next;
            }
            let limit = self.segment.written_to.load(Acquire);
            let record = self
                .window
                .record(&*self.segment.file, self.position, limit)
                .map_err(LogError::io("read", &self.segment.path))?;
            let header = &self.segment.header;
            let record = record.filter(|r| {
                r.segment == header.id
                    && r.nonce == header.nonce
                    && r.offset == self.record_end
                    && r.previous == self.chain
            });
            let Some(record) = record else {
                return Err(self.corrupt("the record there is damaged"));
            };
            let payload_at = self.position + RECORD_HEADER_BYTES as u64;
            self.position += record.span();
            self.chain = record.crc;
            self.record_end += u64::from(record.length);
            if self.record_end > self.offset {
                self.entered = Some((record, payload_at));
                return Ok(true);
            }
        }
    }

    /// The next segment, if this one has been read to its end.
    fn next_segment(&self) -> Option<Arc<Segment>> {
        let segments = self.shared.segments.lock();
        let id = self.segment.header.id + 1;
        let index = id.checked_sub(segments[0].header.id)?;
        let next = segments.get(index as usize)?;
        (next.header.start == self.record_end).then(|| next.clone())
    }

    /// Who reads from this segment on would not get further. Each segment can be
    /// read by itself, so who begins behind this one does.
    fn note_unreadable(&self, error: &LogError) {
        if !matches!(error, LogError::Corrupt { .. } | LogError::Io { .. }) {
            return;
        }
        let segments = self.shared.segments.lock();
        let mut headers = segments.iter().map(|segment| segment.header);
        let next = headers.find(|header| header.id > self.segment.header.id);
        if let Some(next) = next {
            let readable_from = &self.shared.readable_from;
            readable_from.fetch_max(next.start, Release);
        }
    }

    /// The error for what can't be read at `position`.
    fn corrupt(&self, reason: &str) -> LogError {
        let oldest = {
            let segments = self.shared.segments.lock();
            segments[0].header
        };
        if oldest.id > self.segment.header.id + 1 {
            // Everything around here was trimmed while we were at it.
            return LogError::OutOfRange {
                asked: self.offset(),
                oldest: Offset(oldest.start),
                end: Offset(self.shared.end.load(Acquire)),
            };
        }
        LogError::Corrupt {
            path: self.segment.path.clone(),
            position: self.position,
            reason: reason.to_owned(),
        }
    }
}
