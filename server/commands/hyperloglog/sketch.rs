//! The string that a sketch is.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `HYLL` |
//! | 1 | 0 dense, 1 sparse |
//! | 3 | 0 |
//! | 8 | the cached count, little-endian; the highest bit means there is none |
//! | rest | the registers, see `dense.rs` and `sparse.rs` |

use super::estimate::{Histogram, estimate};
use super::sparse::{self, Raised};
use super::{REGISTERS, dense};

/// Bytes before the registers.
const HEADER: usize = 16;
const MAGIC: &[u8; 4] = b"HYLL";
/// Where the representation is told.
const ENCODING: usize = 4;
/// Where the cached count is.
const CACHE: usize = 8;
/// Set in the last byte of the cached count when it does not hold.
const NO_CACHE: u8 = 0x80;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// Why a string is no sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It is something else.
    NotASketch,
    /// Its registers are corrupt.
    Corrupt,
}

/// A sketch's bytes whose header has been checked; the registers of a sparse
/// one may still be corrupt.
#[derive(Clone, Copy)]
pub struct Sketch<'a>(&'a [u8]);

impl<'a> Sketch<'a> {
    /// Checks the header, and the length of a dense one.
    pub fn of(bytes: &'a [u8]) -> Result<Sketch<'a>, Invalid> {
        let fits = bytes.len() >= HEADER
            && bytes.starts_with(MAGIC)
            && match bytes[ENCODING] {
                DENSE => bytes.len() == HEADER + dense::SIZE,
                encoding => encoding == SPARSE,
            };
        fits.then_some(Sketch(bytes)).ok_or(Invalid::NotASketch)
    }

    /// Whether its registers are runs.
    pub fn is_sparse(self) -> bool {
        self.0[ENCODING] == SPARSE
    }

    /// The bytes behind the header.
    pub fn registers(self) -> &'a [u8] {
        &self.0[HEADER..]
    }

    /// Checks the registers.
    pub fn checked(self) -> Result<Sketch<'a>, Invalid> {
        match !self.is_sparse() || sparse::is_valid(self.registers()) {
            true => Ok(self),
            false => Err(Invalid::Corrupt),
        }
    }

    /// The count as it was last estimated, if nothing was added since.
    pub fn cached(self) -> Option<u64> {
        let count = u64::from_le_bytes(self.0[CACHE..HEADER].try_into().unwrap_or_default());
        (self.0[HEADER - 1] & NO_CACHE == 0).then_some(count)
    }

    /// The estimated count.
    pub fn estimate(self) -> Result<u64, Invalid> {
        let mut histogram: Histogram = [0; 64];
        if self.is_sparse() {
            for run in sparse::runs(self.checked()?.registers()) {
                histogram[usize::from(run.value)] += run.len as u32;
            }
        } else {
            for value in dense::values(self.registers()) {
                histogram[usize::from(value)] += 1;
            }
        }
        Ok(estimate(&histogram))
    }

    /// Whether some register would be raised by these values.
    pub fn is_below(self, index: usize, value: u8) -> bool {
        match self.is_sparse() {
            true => sparse::get(self.registers(), index) < value,
            false => dense::get(self.registers(), index) < value,
        }
    }

    /// Raises each of `most` to this sketch's register.
    pub fn merge_into(self, most: &mut Registers) -> Result<(), Invalid> {
        if !self.is_sparse() {
            let values = dense::values(self.registers());
            most.0
                .iter_mut()
                .zip(values)
                .for_each(|(most, value)| *most = value.max(*most));
            return Ok(());
        }
        let mut first = 0;
        for run in sparse::runs(self.checked()?.registers()) {
            if run.value > 0 {
                let covered = &mut most.0[first..first + run.len];
                covered
                    .iter_mut()
                    .for_each(|most| *most = run.value.max(*most));
            }
            first += run.len;
        }
        Ok(())
    }
}

/// Registers, one a byte.
pub struct Registers(pub Box<[u8]>);

impl Registers {
    /// Those of an empty set.
    pub fn new() -> Registers {
        Registers(vec![0; REGISTERS].into_boxed_slice())
    }

    /// The estimated count.
    pub fn estimate(&self) -> u64 {
        let mut histogram: Histogram = [0; 64];
        self.0
            .iter()
            .for_each(|&value| histogram[usize::from(value)] += 1);
        estimate(&histogram)
    }
}

/// The sketch of an empty set.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING] = SPARSE;
    bytes.extend_from_slice(&sparse::EMPTY);
    bytes
}

/// Raises a register of a valid sketch to a value; whether that changed it. A
/// sparse one becomes dense when it would get longer than `limit`.
pub fn raise(bytes: &mut Vec<u8>, index: usize, value: u8, limit: usize) -> bool {
    if bytes[ENCODING] == SPARSE {
        match sparse::raise(bytes, HEADER, index, value, limit) {
            Raised::Unchanged => return false,
            Raised::Changed => {
                forget_count(bytes);
                return true;
            }
            Raised::NoRoom => make_dense(bytes),
        }
    }
    let registers = &mut bytes[HEADER..];
    if dense::get(registers, index) >= value {
        return false;
    }
    dense::set(registers, index, value);
    true
}

/// Makes a valid sketch dense.
pub fn make_dense(bytes: &mut Vec<u8>) {
    if bytes[ENCODING] == DENSE {
        return;
    }
    let mut registers = vec![0; dense::SIZE];
    let mut first = 0;
    for run in sparse::runs(&bytes[HEADER..]) {
        if run.value > 0 {
            (first..first + run.len).for_each(|index| dense::set(&mut registers, index, run.value));
        }
        first += run.len;
    }
    bytes.truncate(HEADER);
    bytes[ENCODING] = DENSE;
    bytes.extend_from_slice(&registers);
}

/// Marks the cached count as not holding.
pub fn forget_count(bytes: &mut [u8]) {
    bytes[HEADER - 1] |= NO_CACHE;
}

/// Caches a count.
pub fn cache_count(bytes: &mut [u8], count: u64) {
    bytes[CACHE..HEADER].copy_from_slice(&count.to_le_bytes());
}
