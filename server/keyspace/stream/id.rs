//! The id of a stream's entry: `<milliseconds>-<sequence>`.

use std::fmt;
use std::ops::Deref;

/// An entry's id. Ids are ordered by milliseconds, then by sequence number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId {
    /// Unix time in milliseconds, if the server made the id.
    pub ms: u64,
    /// Tells apart entries of the same millisecond.
    pub seq: u64,
}

impl StreamId {
    /// 0-0, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last possible id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The id right after; None after the last.
    pub fn next(self) -> Option<StreamId> {
        self.number().checked_add(1).map(StreamId::of_number)
    }

    /// The id right before; None before 0-0.
    pub fn previous(self) -> Option<StreamId> {
        self.number().checked_sub(1).map(StreamId::of_number)
    }

    /// The id as one number, as big as it sorts.
    pub fn number(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }

    fn of_number(number: u128) -> StreamId {
        StreamId {
            ms: (number >> 64) as u64,
            seq: number as u64,
        }
    }

    /// The id's text.
    pub fn text(self) -> IdText {
        let mut digits = itoa::Buffer::new();
        let mut text = IdText {
            bytes: [0; IdText::MAX_LEN],
            len: 0,
        };
        text.push(digits.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(self.seq).as_bytes());
        text
    }
}

/// The text of an id.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; IdText::MAX_LEN],
    len: u8,
}

impl IdText {
    /// Twice twenty digits and a dash.
    const MAX_LEN: usize = 41;

    fn push(&mut self, more: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..len + more.len()].copy_from_slice(more);
        self.len += more.len() as u8;
    }
}

impl Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl From<(u64, u64)> for StreamId {
    fn from((ms, seq): (u64, u64)) -> StreamId {
        StreamId { ms, seq }
    }
}
