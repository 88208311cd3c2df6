//! Lengths, strings and doubles: what every RDB value is made of.
//!
//! | first byte | meaning |
//! |---|---|
//! | `00LLLLLL` | length of 6 bits |
//! | `01LLLLLL` + 1 byte | length of 14 bits, big-endian |
//! | `0x80` + 4 bytes, `0x81` + 8 bytes | length, big-endian |
//! | `11000000`, `…01`, `…10` | string: a signed integer of 1, 2, 4 bytes, little-endian |
//! | `11000011` | string: LZF; compressed length, length, data |

use std::borrow::Cow;

use super::{Limits, RdbError, lzf};

/// Strings up to this size are not worth compressing.
const MIN_COMPRESSED: usize = 20;

/// Takes values from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    limits: Limits,
}

/// A length, or the kind of an encoded string in its place.
enum Length {
    Plain(u64),
    Encoded(u8),
}

impl<'a> Reader<'a> {
    /// Reads from the front of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Reader<'a> {
        Reader {
            rest: input,
            limits,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], RdbError> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(RdbError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(RdbError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, RdbError> {
        self.array().map(|[byte]| byte)
    }

    /// A length or count.
    pub fn length(&mut self) -> Result<u64, RdbError> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(RdbError::Corrupt("string where a length is due")),
        }
    }

    /// The count of elements to follow, each of at least `bytes_each` bytes.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, RdbError> {
        let count = self.length()?;
        if count == 0 {
            return Err(RdbError::Empty);
        }
        if count > (self.remaining() / bytes_each) as u64 {
            return Err(RdbError::Truncated);
        }
        Ok(count as usize)
    }

    /// A string; borrowed unless it was encoded as an integer or compressed.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, RdbError> {
        let number = match self.length_or_encoding()? {
            Length::Plain(len) => {
                let len = self.string_length(len)?;
                return self.take(len).map(Cow::Borrowed);
            }
            Length::Encoded(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(3) => {
                let packed = usize::try_from(self.length()?).map_err(|_| RdbError::Truncated)?;
                let len = self.length()?;
                let len = self.string_length(len)?;
                return lzf::decompress(self.take(packed)?, len).map(Cow::Owned);
            }
            Length::Encoded(_) => return Err(RdbError::Corrupt("unknown string encoding")),
        };
        Ok(Cow::Owned(integer_text(number)))
    }

    /// A double of 8 bytes, little-endian.
    pub fn double(&mut self) -> Result<f64, RdbError> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double in ASCII with a length byte, of which 253 to 255 are NaN and the infinities.
    pub fn ascii_double(&mut self) -> Result<f64, RdbError> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Ok(f64::NAN),
            len => parse_double(self.take(len.into())?),
        }
    }

    fn string_length(&self, len: u64) -> Result<usize, RdbError> {
        match usize::try_from(len) {
            Ok(len) if len <= self.limits.max_string_bytes => Ok(len),
            _ => Err(RdbError::TooLarge),
        }
    }

    fn length_or_encoding(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Plain(low.into()),
            (1, _) => Length::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            (_, 0x80) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, 0x81) => Length::Plain(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Encoded(low),
            _ => return Err(RdbError::Corrupt("unknown length encoding")),
        })
    }
}

/// A score in text.
pub fn parse_double(text: &[u8]) -> Result<f64, RdbError> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.trim_ascii_start().parse().ok())
        .ok_or(RdbError::Corrupt("score is not a number"))
}

/// The integer that `text` is, if formatting that gives `text` again.
pub fn canonical_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `number` in decimal.
pub fn integer_text(number: i64) -> Vec<u8> {
    itoa::Buffer::new().format(number).as_bytes().to_vec()
}

/// Writes a length or count.
pub fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Writes a string as an integer if it is one, compressed if `compress` and that is shorter, or
/// else as it is.
pub fn put_string(out: &mut Vec<u8>, string: &[u8], compress: bool) {
    if string.len() <= 11
        && let Some(Ok(number)) = canonical_integer(string).map(i32::try_from)
    {
        put_integer(out, number);
    } else if compress
        && string.len() > MIN_COMPRESSED
        && let Some(packed) = lzf::compress(string)
    {
        out.push(0xc3);
        put_length(out, packed.len() as u64);
        put_length(out, string.len() as u64);
        out.extend_from_slice(&packed);
    } else {
        put_raw_string(out, string);
    }
}

/// Writes a string as it is.
pub fn put_raw_string(out: &mut Vec<u8>, string: &[u8]) {
    put_length(out, string.len() as u64);
    out.extend_from_slice(string);
}

fn put_integer(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.extend_from_slice(&[0xc0, number as u8]);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xc1);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&number.to_le_bytes());
    }
}
