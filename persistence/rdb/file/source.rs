//! Bytes from a stream, counted and summed up, with no trust in what they claim.

use std::io::{self, Read};

use super::super::crc64::crc64;
use super::super::{Limits, RdbError};

/// How much is read at a time, and the most that a string's claimed length makes room for at
/// once.
const BUFFER_BYTES: usize = 64 << 10;

/// What is wrong with an RDB file, and where.
#[derive(Debug, thiserror::Error)]
#[error("at byte {position}: {kind}")]
pub struct FileError {
    /// Bytes read before it was noticed.
    pub position: u64,
    /// What it is.
    pub kind: FileErrorKind,
}

/// What is wrong with an RDB file.
#[derive(Debug, thiserror::Error)]
pub enum FileErrorKind {
    /// It can't be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as one.
    #[error("not an RDB file")]
    NotRdb,
    /// A version that is not read here.
    #[error("RDB version {0} is not supported")]
    Version(String),
    /// Something that is not read here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A byte that is neither an opcode nor a type.
    #[error("unknown opcode or type {0}")]
    Unknown(u8),
    /// A value or a number that breaks the rules of its format, or ends early.
    #[error(transparent)]
    Value(#[from] RdbError),
    /// The file was changed since it was written.
    #[error("CRC error: the checksum is {expected:016x}, that of the bytes before it {found:016x}")]
    Checksum {
        /// The checksum in the file.
        expected: u64,
        /// That of the bytes before it.
        found: u64,
    },
}

/// A length, or the kind of an encoded string in its place.
enum Length {
    Plain(u64),
    Encoded(u8),
}

/// The bytes of a file from its beginning.
pub(super) struct Source<R> {
    input: R,
    buffer: Box<[u8]>,
    /// `buffer[at..end]` is read from the input and not yet taken.
    at: usize,
    end: usize,
    /// `crc` covers all before `buffer[summed]`.
    summed: usize,
    crc: u64,
    /// Bytes that came before `buffer`.
    before: u64,
    limits: Limits,
}

impl<R: Read> Source<R> {
    pub fn new(input: R, limits: Limits) -> Source<R> {
        Source {
            input,
            buffer: vec![0; BUFFER_BYTES].into(),
            at: 0,
            end: 0,
            summed: 0,
            crc: 0,
            before: 0,
            limits,
        }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// An error at this place.
    pub fn error(&self, kind: impl Into<FileErrorKind>) -> FileError {
        FileError {
            position: self.position(),
            kind: kind.into(),
        }
    }

    /// The checksum of the bytes taken so far.
    pub fn checksum(&mut self) -> u64 {
        self.crc = crc64(self.crc, &self.buffer[self.summed..self.at]);
        self.summed = self.at;
        self.crc
    }

    /// The input, and what was read from it but not taken.
    pub fn into_parts(self) -> (R, Vec<u8>) {
        (self.input, self.buffer[self.at..self.end].to_vec())
    }

    fn refill(&mut self) -> Result<(), FileError> {
        self.checksum();
        self.before += self.at as u64;
        (self.at, self.end, self.summed) = (0, 0, 0);
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Err(self.error(RdbError::Truncated)),
                Ok(read) => {
                    self.end = read;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
        }
    }

    pub fn byte(&mut self) -> Result<u8, FileError> {
        if self.at == self.end {
            self.refill()?;
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// Appends the next `len` bytes to `out`, which grows with what is there.
    pub fn copy(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), FileError> {
        let mut left = len;
        while left > 0 {
            if self.at == self.end {
                self.refill()?;
            }
            let here = left.min((self.end - self.at) as u64) as usize;
            out.extend_from_slice(&self.buffer[self.at..self.at + here]);
            self.at += here;
            left -= here as u64;
        }
        Ok(())
    }

    /// Copies a byte to `out` and gives it.
    fn copy_byte(&mut self, out: &mut Vec<u8>) -> Result<u8, FileError> {
        let byte = self.byte()?;
        out.push(byte);
        Ok(byte)
    }

    fn length_or_encoding(&mut self, out: &mut Vec<u8>) -> Result<Length, FileError> {
        let first = self.copy_byte(out)?;
        let low = first & 0x3f;
        let mut wide = [0; 8];
        let width = match (first >> 6, first) {
            (0, _) => return Ok(Length::Plain(low.into())),
            (1, _) => {
                let rest = self.copy_byte(out)?;
                return Ok(Length::Plain(u64::from(low) << 8 | u64::from(rest)));
            }
            (_, 0x80) => 4,
            (_, 0x81) => 8,
            (3, _) => return Ok(Length::Encoded(low)),
            _ => return Err(self.error(RdbError::Corrupt("unknown length encoding"))),
        };
        for byte in &mut wide[8 - width..] {
            *byte = self.byte()?;
        }
        out.extend_from_slice(&wide[8 - width..]);
        Ok(Length::Plain(u64::from_be_bytes(wide)))
    }

    /// Copies a length or count to `out` and gives it.
    pub fn copy_length(&mut self, out: &mut Vec<u8>) -> Result<u64, FileError> {
        match self.length_or_encoding(out)? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => {
                Err(self.error(RdbError::Corrupt("string where a length is due")))
            }
        }
    }

    /// A length or count.
    pub fn length(&mut self) -> Result<u64, FileError> {
        let mut bytes = Vec::new();
        self.copy_length(&mut bytes)
    }

    /// Copies a string to `out` as it is encoded.
    pub fn copy_string(&mut self, out: &mut Vec<u8>) -> Result<(), FileError> {
        let len = match self.length_or_encoding(out)? {
            Length::Plain(len) => len,
            Length::Encoded(0) => 1,
            Length::Encoded(1) => 2,
            Length::Encoded(2) => 4,
            Length::Encoded(3) => {
                let packed = self.copy_length(out)?;
                let len = self.copy_length(out)?;
                self.check_length(len)?;
                packed
            }
            Length::Encoded(_) => {
                return Err(self.error(RdbError::Corrupt("unknown string encoding")));
            }
        };
        self.check_length(len)?;
        self.copy(len, out)
    }

    fn check_length(&self, len: u64) -> Result<(), FileError> {
        if len > self.limits.max_string_bytes as u64 {
            return Err(self.error(RdbError::TooLarge));
        }
        Ok(())
    }
}
