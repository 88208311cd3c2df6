//! The sparse representation: runs of registers with the same value.
//!
//! | bytes | run |
//! |---|---|
//! | `00nnnnnn` | n + 1 registers of 0 |
//! | `01nnnnnn nnnnnnnn` | n + 1 registers of 0 |
//! | `1vvvvvnn` | n + 1 registers of v + 1 |

use super::REGISTERS;

/// The largest value that a run can have.
const MAX_VALUE: u8 = 32;
/// The most registers that a run of a value can have.
const MAX_VALUE_RUN: usize = 4;
/// The most registers of 0 in one byte.
const MAX_SHORT_RUN: usize = 64;

/// Registers with the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// 0 to 32.
    pub value: u8,
    /// How many registers.
    pub len: usize,
    /// Bytes that it is written in.
    pub size: usize,
}

impl Run {
    /// The run that begins at `at`; None at the end or in a torn one.
    pub fn read(runs: &[u8], at: usize) -> Option<Run> {
        let first = *runs.get(at)?;
        let low = usize::from(first & 0x3F);
        Some(match first >> 6 {
            0 => Run {
                value: 0,
                len: low + 1,
                size: 1,
            },
            1 => Run {
                value: 0,
                len: (low << 8 | usize::from(*runs.get(at + 1)?)) + 1,
                size: 2,
            },
            _ => Run {
                value: (first >> 2 & 0x1F) + 1,
                len: usize::from(first & 3) + 1,
                size: 1,
            },
        })
    }
}

/// The bytes of a few runs.
#[derive(Default)]
struct Runs {
    bytes: [u8; 5],
    size: usize,
}

impl Runs {
    fn put(&mut self, value: u8, len: usize) {
        if len == 0 {
            return;
        }
        let last = len - 1;
        if value > 0 {
            self.push(0x80 | (value - 1) << 2 | last as u8);
        } else if len <= MAX_SHORT_RUN {
            self.push(last as u8);
        } else {
            self.push(0x40 | (last >> 8) as u8);
            self.push(last as u8);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.size] = byte;
        self.size += 1;
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// The runs of an empty set.
pub const EMPTY: [u8; 2] = [0x7F, 0xFF];

/// All runs in order.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::read(bytes, at)?;
        at += run.size;
        Some(run)
    })
}

/// Whether these are whole runs of as many registers as a sketch has.
pub fn is_valid(bytes: &[u8]) -> bool {
    let (size, len) = runs(bytes).fold((0, 0), |(size, len), run| (size + run.size, len + run.len));
    size == bytes.len() && len == REGISTERS
}

/// A register's value in valid runs.
pub fn get(bytes: &[u8], index: usize) -> u8 {
    let mut first = 0;
    for run in runs(bytes) {
        first += run.len;
        if index < first {
            return run.value;
        }
    }
    0
}

/// What [`raise`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// The register had this value or more.
    Unchanged,
    /// The register has the value now.
    Changed,
    /// The value can't be written, or not within the limit.
    NoRoom,
}

/// Raises a register to a value. `bytes` are valid runs from `start` on; they
/// must not get longer when they are, with what is before, beyond `limit`.
pub fn raise(bytes: &mut Vec<u8>, start: usize, index: usize, value: u8, limit: usize) -> Raised {
    if value > MAX_VALUE {
        return Raised::NoRoom;
    }
    let (mut at, mut previous, mut first) = (start, start, 0);
    let run = loop {
        let Some(run) = Run::read(bytes, at) else {
            return Raised::NoRoom;
        };
        if index < first + run.len {
            break run;
        }
        previous = at;
        at += run.size;
        first += run.len;
    };
    if run.value >= value {
        return Raised::Unchanged;
    }
    let mut parts = Runs::default();
    parts.put(run.value, index - first);
    parts.put(value, 1);
    parts.put(run.value, first + run.len - 1 - index);
    if parts.size > run.size && bytes.len() + parts.size - run.size > limit {
        return Raised::NoRoom;
    }
    bytes.splice(at..at + run.size, parts.as_bytes().iter().copied());
    merge_around(bytes, previous);
    Raised::Changed
}

/// Merges runs of the same value near the one at `at`. How many are looked at
/// is part of the representation: others do the same.
fn merge_around(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some(run) = Run::read(bytes, at) else {
            return;
        };
        let next = match run.value {
            0 => None,
            value => Run::read(bytes, at + 1).filter(|next| next.value == value),
        };
        match next {
            Some(next) if run.len + next.len <= MAX_VALUE_RUN => {
                let mut merged = Runs::default();
                merged.put(run.value, run.len + next.len);
                bytes.splice(at..at + 2, merged.as_bytes().iter().copied());
            }
            _ => at += run.size,
        }
    }
}
