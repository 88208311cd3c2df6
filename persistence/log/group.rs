//! The current group: what has been appended and not yet taken by the writer.

use std::collections::VecDeque;

use super::Term;
use super::record::RECORD_HEADER_BYTES;

/// No database is known to be selected at this point of the stream.
pub const UNKNOWN_DB: u32 = u32::MAX;
/// Most bytes of the commands that come around what is appended: SELECT, MULTI
/// and EXEC.
const AROUND_BYTES: usize = 128;
/// Buffered bytes beyond which append wakes the writer at once.
const KICK_BYTES: usize = 64 << 20;
/// A buffer that grew beyond this is given back to the allocator.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// One record to be: room for its header, then the payload.
pub struct Batch {
    /// [`RECORD_HEADER_BYTES`] of room, then the payload.
    pub buffer: Vec<u8>,
    /// Stream offset of the first payload byte.
    pub start: u64,
    /// Term of the record.
    pub term: Term,
    /// What was appended at once goes on in the next one.
    pub continues: bool,
}

impl Batch {
    /// Number of payload bytes.
    pub fn payload_bytes(&self) -> u64 {
        (self.buffer.len() - RECORD_HEADER_BYTES) as u64
    }
}

/// The append side of the log; lives under one mutex.
pub struct Group {
    batch: Batch,
    /// Groups closed before, oldest first.
    closed: VecDeque<Batch>,
    /// Payload bytes of a group at most.
    most_bytes: usize,
    /// A group of so many bytes is looked at more closely.
    large_bytes: usize,
    /// When the writer took a group, the next one was begun already: it is due
    /// as that one was.
    pub is_behind: bool,
    /// Size of the buffer that the writer has.
    taken_bytes: usize,
    /// End of what was appended.
    pub end: u64,
    /// Database selected at `end`, or [`UNKNOWN_DB`].
    pub selected_db: u32,
    /// The writer waits to be woken; append clears it.
    pub writer_parked: bool,
    kicked: bool,
    /// The log has failed or is closed: appends do nothing.
    pub refused: bool,
}

/// A buffer that starts with room for a record header.
pub fn empty_buffer(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    if buffer.capacity() > KEPT_BUFFER_BYTES {
        buffer = Vec::new();
    }
    buffer.resize(RECORD_HEADER_BYTES, 0);
    buffer
}

impl Group {
    /// An empty group at the end of a recovered log; groups are of `most_bytes`
    /// of payload at most.
    pub fn new(end: u64, term: Term, most_bytes: usize) -> Group {
        let buffer = Vec::with_capacity(KEPT_BUFFER_BYTES / 4);
        Group {
            batch: Batch {
                buffer: empty_buffer(buffer),
                start: end,
                term,
                continues: false,
            },
            closed: VecDeque::new(),
            most_bytes,
            large_bytes: most_bytes.min(KICK_BYTES),
            is_behind: false,
            taken_bytes: 0,
            end,
            selected_db: UNKNOWN_DB,
            writer_parked: false,
            kicked: false,
            refused: false,
        }
    }

    /// So many bytes are going to be appended at once, and what comes around
    /// them: that is not cut in two if it fits into one group.
    #[inline]
    pub fn begin(&mut self, bytes: usize) {
        if self.batch.buffer.len() + bytes + AROUND_BYTES > self.large_bytes {
            self.begin_large(bytes);
        }
    }

    #[cold]
    fn begin_large(&mut self, bytes: usize) {
        let used = self.batch.payload_bytes() as usize;
        if used > 0 && used + bytes + AROUND_BYTES > self.most_bytes {
            self.close_batch(false);
        }
    }

    /// Appends payload bytes. Returns whether the writer has to be woken.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.batch.buffer.len() + bytes.len() > self.large_bytes {
            return self.push_large(bytes);
        }
        self.batch.buffer.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
        std::mem::take(&mut self.writer_parked)
    }

    #[cold]
    fn push_large(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let used = self.batch.payload_bytes() as usize;
            if used >= self.most_bytes {
                self.close_batch(true);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.most_bytes - used));
            self.batch.buffer.extend_from_slice(now);
            self.end += now.len() as u64;
            bytes = later;
        }
        let first = !std::mem::replace(&mut self.kicked, true);
        std::mem::take(&mut self.writer_parked) || first
    }

    /// Appends `SELECT db`, as a Redis primary writes it.
    #[cold]
    pub fn select(&mut self, db: u32) {
        let mut digits = itoa::Buffer::new();
        let db = digits.format(db);
        let command = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len());
        self.batch.buffer.extend_from_slice(command.as_bytes());
        self.end += command.len() as u64;
    }

    /// The term of records from here on.
    pub fn set_term(&mut self, term: Term) {
        if self.batch.payload_bytes() > 0 {
            self.close_batch(false);
        }
        self.batch.term = term;
    }

    /// The term of the next record.
    pub fn term(&self) -> Term {
        self.batch.term
    }

    fn close_batch(&mut self, continues: bool) {
        let next = Batch {
            buffer: empty_buffer(Vec::new()),
            start: self.end,
            term: self.batch.term,
            continues: false,
        };
        self.batch.continues = continues;
        self.closed
            .push_back(std::mem::replace(&mut self.batch, next));
    }

    /// Takes the oldest group, leaving `spare` (from [`empty_buffer`]) in its
    /// place; gives `spare` back when there is nothing to take.
    pub fn take(&mut self, spare: Vec<u8>) -> Result<Batch, Vec<u8>> {
        self.writer_parked = false;
        self.kicked = false;
        let closed = self.closed.pop_front();
        self.is_behind = closed.is_some();
        if let Some(batch) = closed {
            self.taken_bytes = batch.buffer.capacity();
            return Ok(batch);
        }
        if self.batch.payload_bytes() == 0 {
            self.taken_bytes = spare.capacity();
            return Err(spare);
        }
        self.taken_bytes = self.batch.buffer.capacity();
        let next = Batch {
            buffer: spare,
            start: self.end,
            term: self.batch.term,
            continues: false,
        };
        Ok(std::mem::replace(&mut self.batch, next))
    }

    /// Size of all buffers, whether there is anything in them or not.
    pub fn buffer_bytes(&self) -> usize {
        let closed = self.closed.iter().map(|batch| batch.buffer.capacity());
        self.batch.buffer.capacity() + closed.sum::<usize>() + self.taken_bytes
    }

    /// Takes appends again, from the end of what was appended before.
    pub fn restart(&mut self) {
        self.refused = false;
        self.kicked = false;
        self.writer_parked = false;
        self.closed.clear();
        self.batch.buffer = empty_buffer(Vec::new());
        self.batch.start = self.end;
        self.selected_db = UNKNOWN_DB;
    }

    /// Refuses appends from now on and forgets what was not written.
    pub fn refuse(&mut self) {
        self.refused = true;
        self.closed.clear();
        self.batch.buffer = empty_buffer(Vec::new());
    }
}
