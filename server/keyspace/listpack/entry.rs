//! One entry of a listpack: its value, and its bytes.
//!
//! An entry is `<encoding and data><back length>`; the back length counts the
//! bytes before it, so that a listpack can be read backwards.
//!
//! | first byte | then | value |
//! |---|---|---|
//! | `0xxxxxxx` | | integer 0 … 127 |
//! | `10xxxxxx` | data | string of up to 63 bytes |
//! | `110xxxxx` | 1 byte | 13-bit signed integer, high bits first |
//! | `1110xxxx` | 1 byte, data | string of up to 4095 bytes, high bits first |
//! | `0xF0` | u32 LE, data | string |
//! | `0xF1` … `0xF4` | 2, 3, 4, 8 bytes LE | signed integer |
//! | `0xFF` | | end of the listpack |

/// The byte after the last entry.
pub(super) const END: u8 = 0xFF;

/// Room for an integer's decimal digits; see [`Entry::bytes`].
pub type IntBuffer = itoa::Buffer;

/// The value of an entry. A string that is the canonical decimal form of an
/// `i64` is stored as that integer, and reads back as the same string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Entry<'a> {
    /// The value under which a string is stored.
    pub fn of(bytes: &'a [u8]) -> Self {
        match parse_canonical_i64(bytes) {
            Some(number) => Self::Int(number),
            None => Self::Str(bytes),
        }
    }

    /// The value as a string; `buffer` takes an integer's digits.
    pub fn bytes<'b>(self, buffer: &'b mut IntBuffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(number) => buffer.format(number).as_bytes(),
            Self::Str(bytes) => bytes,
        }
    }

    /// The value as a string of its own.
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut IntBuffer::new()).to_vec()
    }

    /// Bytes of the value as a string.
    pub fn byte_len(self) -> usize {
        match self {
            Self::Int(number) => {
                let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
                digits as usize + usize::from(number < 0)
            }
            Self::Str(bytes) => bytes.len(),
        }
    }

    /// The value as an integer, when it is the canonical form of one.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Str(bytes) => parse_canonical_i64(bytes),
        }
    }
}

/// A string to compare entries with, parsed once.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) int: Option<i64>,
}

impl<'a> Needle<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            int: parse_canonical_i64(bytes),
        }
    }

    /// Whether the entry holds the needle's string.
    pub fn matches(&self, entry: Entry<'_>) -> bool {
        match entry {
            Entry::Int(number) => self.int == Some(number),
            Entry::Str(bytes) => bytes == self.bytes,
        }
    }

    /// The entry under which the needle's string is stored.
    pub fn entry(&self) -> Entry<'a> {
        match self.int {
            Some(number) => Entry::Int(number),
            None => Entry::Str(self.bytes),
        }
    }
}

/// The integer whose shortest decimal form is exactly `bytes`: no plus sign,
/// no leading zero, no `-0`, within `i64`.
pub fn parse_canonical_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut number: u64 = 0;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        // Nineteen digits stay below 10^19, which fits in 64 bits.
        number = number * 10 + u64::from(value);
    }
    if negative {
        0i64.checked_sub_unsigned(number)
    } else {
        i64::try_from(number).ok()
    }
}

/// Bytes of an entry without its back length.
fn body_len(entry: Entry<'_>) -> usize {
    match entry {
        Entry::Int(0..=127) => 1,
        Entry::Int(-4096..=4095) => 2,
        Entry::Int(-0x8000..=0x7FFF) => 3,
        Entry::Int(-0x80_0000..=0x7F_FFFF) => 4,
        Entry::Int(-0x8000_0000..=0x7FFF_FFFF) => 5,
        Entry::Int(_) => 9,
        Entry::Str(bytes) => match bytes.len() {
            len @ 0..64 => 1 + len,
            len @ 64..4096 => 2 + len,
            len => 5 + len,
        },
    }
}

/// Bytes of the back length of an entry with `body` bytes, as Valkey 9 has
/// them (servers before it go to the next size one byte earlier).
pub(super) fn back_len_size(body: usize) -> usize {
    match body {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}

/// Bytes of an entry with its back length.
pub(super) fn encoded_len(entry: Entry<'_>) -> usize {
    let body = body_len(entry);
    body + back_len_size(body)
}

/// Writes an entry at the start of `out`; returns its bytes, which are
/// [`encoded_len`].
pub(super) fn encode(entry: Entry<'_>, out: &mut [u8]) -> usize {
    let body = body_len(entry);
    match entry {
        Entry::Int(number) => encode_int(number, &mut out[..body]),
        Entry::Str(bytes) => {
            let len = bytes.len();
            match len {
                0..64 => out[0] = 0x80 | len as u8,
                64..4096 => {
                    out[0] = 0xE0 | (len >> 8) as u8;
                    out[1] = len as u8;
                }
                _ => {
                    out[0] = 0xF0;
                    out[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                }
            }
            out[body - len..body].copy_from_slice(bytes);
        }
    }
    body + encode_back_len(body, &mut out[body..])
}

fn encode_int(number: i64, out: &mut [u8]) {
    let little = number.to_le_bytes();
    match out.len() {
        1 => out[0] = little[0],
        2 => {
            out[0] = 0xC0 | (little[1] & 0x1F);
            out[1] = little[0];
        }
        len => {
            out[0] = match len {
                3 => 0xF1,
                4 => 0xF2,
                5 => 0xF3,
                _ => 0xF4,
            };
            out[1..].copy_from_slice(&little[..len - 1]);
        }
    }
}

/// Seven bits a byte, high bits first; all but the first have the top bit set.
fn encode_back_len(body: usize, out: &mut [u8]) -> usize {
    let size = back_len_size(body);
    for (place, byte) in out[..size].iter_mut().enumerate() {
        let bits = (body >> (7 * (size - 1 - place))) & 0x7F;
        *byte = bits as u8 | if place == 0 { 0 } else { 0x80 };
    }
    size
}

/// The back length that ends at the end of `bytes`, and how many bytes it has.
pub(super) fn decode_back_len(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut body = 0;
    for (place, &byte) in bytes.iter().rev().take(5).enumerate() {
        body |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((body, place + 1));
        }
    }
    None
}

/// Reads the entry at the start of `bytes`: its value, and its bytes without
/// the back length. `None` at the end of the listpack and where bytes are
/// missing or mean nothing.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let &first = bytes.first()?;
    match first {
        0x00..=0x7F => Some((Entry::Int(i64::from(first)), 1)),
        0x80..=0xBF => string(bytes, 1, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let bits = (i64::from(first & 0x1F) << 8) | i64::from(*bytes.get(1)?);
            Some((Entry::Int(bits << 51 >> 51), 2))
        }
        0xE0..=0xEF => {
            let len = (usize::from(first & 0x0F) << 8) | usize::from(*bytes.get(1)?);
            string(bytes, 2, len)
        }
        0xF0 => {
            let len = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
            string(bytes, 5, len as usize)
        }
        0xF1 => integer(bytes, 2),
        0xF2 => integer(bytes, 3),
        0xF3 => integer(bytes, 4),
        0xF4 => integer(bytes, 8),
        _ => None,
    }
}

fn string(bytes: &[u8], head: usize, len: usize) -> Option<(Entry<'_>, usize)> {
    let end = head.checked_add(len)?;
    Some((Entry::Str(bytes.get(head..end)?), end))
}

fn integer(bytes: &[u8], size: usize) -> Option<(Entry<'_>, usize)> {
    let mut little = [0; 8];
    little[..size].copy_from_slice(bytes.get(1..1 + size)?);
    let unused = 64 - 8 * size as u32;
    let number = i64::from_le_bytes(little) << unused >> unused;
    Some((Entry::Int(number), 1 + size))
}
