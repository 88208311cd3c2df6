//! The listpack: a small list in one block of bytes.
//!
//! `total bytes u32`, `count u16` (65535: more), entries, `0xff`; little-endian. An entry is its
//! encoding, its data, and the length of both, written so that it can be read backwards.
//!
//! | first byte | meaning |
//! |---|---|
//! | `0nnnnnnn` | integer 0 to 127 |
//! | `10LLLLLL` | string of L bytes |
//! | `110nnnnn` + 1 byte | integer of 13 bits, signed |
//! | `1110LLLL` + 1 byte | string of L bytes, 12 bits |
//! | `0xf0` + 4 bytes | string of so many bytes |
//! | `0xf1` to `0xf4` | integer of 2, 3, 4, 8 bytes, little-endian |

use super::RdbError;
use super::primitive::{canonical_integer, integer_text};

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// In the header: there are this many or more.
const COUNT_UNKNOWN: u16 = u16::MAX;
const CORRUPT: RdbError = RdbError::Corrupt("listpack");

/// An element of a listpack or ziplist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string that was stored as an integer.
    Int(i64),
    /// Any other.
    Str(&'a [u8]),
}

impl Item<'_> {
    /// The string that the element is.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Item::Int(number) => integer_text(number),
            Item::Str(string) => string.to_vec(),
        }
    }
}

/// The elements of a listpack that was validated.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    entries: &'a [u8],
    left: usize,
}

/// Validates a listpack whole; gives its elements.
pub fn iter(listpack: &[u8]) -> Result<Iter<'_>, RdbError> {
    let total = listpack.first_chunk().ok_or(CORRUPT)?;
    let count = listpack.get(4..HEADER_BYTES).ok_or(CORRUPT)?;
    let count = u16::from_le_bytes([count[0], count[1]]);
    let entries = &listpack[HEADER_BYTES..];
    if u32::from_le_bytes(*total) as usize != listpack.len() {
        return Err(CORRUPT);
    }
    let mut rest = entries;
    let mut left = 0;
    while rest != [END] {
        rest = split_entry(rest).ok_or(CORRUPT)?.1;
        left += 1;
    }
    if count != COUNT_UNKNOWN && usize::from(count) != left {
        return Err(CORRUPT);
    }
    Ok(Iter { entries, left })
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.left == 0 {
            return None;
        }
        let (item, rest) = split_entry(self.entries)?;
        self.entries = rest;
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Takes one entry, its backward length included, off the front.
fn split_entry(input: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (&first, data) = input.split_first()?;
    let (item, rest) = match first {
        0..=0x7f => (Item::Int(first.into()), data),
        0x80..=0xbf => split_string(data, (first & 0x3f).into())?,
        0xc0..=0xdf => {
            let (low, rest) = data.split_first()?;
            let unsigned = i64::from(first & 0x1f) << 8 | i64::from(*low);
            (Item::Int(sign_extend(unsigned, 13)), rest)
        }
        0xe0..=0xef => {
            let (low, rest) = data.split_first()?;
            split_string(rest, usize::from(first & 0x0f) << 8 | usize::from(*low))?
        }
        0xf0 => {
            let (len, rest) = data.split_first_chunk()?;
            split_string(rest, u32::from_le_bytes(*len) as usize)?
        }
        0xf1 => split_integer::<2>(data)?,
        0xf2 => split_integer::<3>(data)?,
        0xf3 => split_integer::<4>(data)?,
        0xf4 => split_integer::<8>(data)?,
        _ => return None,
    };
    let len = input.len() - rest.len();
    let (backward, width) = backward_length(len);
    if let Some(rest) = rest.strip_prefix(&backward[..width]) {
        return Some((item, rest));
    }
    if !has_two_widths(len) {
        return None;
    }
    let (backward, width) = backward_length_of(len, width + 1);
    Some((item, rest.strip_prefix(&backward[..width])?))
}

fn split_string(data: &[u8], len: usize) -> Option<(Item<'_>, &[u8])> {
    let (string, rest) = data.split_at_checked(len)?;
    Some((Item::Str(string), rest))
}

/// A signed little-endian integer of `N` bytes off the front.
pub(super) fn split_integer<const N: usize>(data: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (low, rest) = data.split_first_chunk::<N>()?;
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(low);
    let number = sign_extend(i64::from_le_bytes(bytes), 8 * N as u32);
    Some((Item::Int(number), rest))
}

fn sign_extend(unsigned: i64, bits: u32) -> i64 {
    unsigned << (64 - bits) >> (64 - bits)
}

/// The bytes behind an entry of `len` bytes, and how many they are: 7 bits each, the highest
/// first, all but the first one marked.
fn backward_length(len: usize) -> ([u8; 5], usize) {
    let width = match len {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    };
    backward_length_of(len, width)
}

/// Whether Redis, and Valkey before 9, give an entry one byte more: the longest of a width.
fn has_two_widths(len: usize) -> bool {
    matches!(len, 16_383 | 2_097_151 | 268_435_455)
}

/// The same in a given width.
fn backward_length_of(len: usize, width: usize) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    for (i, byte) in bytes[..width].iter_mut().enumerate() {
        let group = (len >> (7 * (width - 1 - i)) & 0x7f) as u8;
        *byte = if i == 0 { group } else { group | 0x80 };
    }
    (bytes, width)
}

/// Builds a listpack, element by element.
#[derive(Debug, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
    count: usize,
    /// The longest entry of a width gets a back length of one byte more.
    longer: bool,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            bytes: vec![0; HEADER_BYTES],
            count: 0,
            longer: false,
        }
    }
}

impl Writer {
    /// An empty listpack.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty listpack as Valkey 9 writes them, or if `longer` as Redis, and Valkey before it.
    pub(super) fn with_longer(longer: bool) -> Writer {
        Writer {
            longer,
            ..Writer::default()
        }
    }

    /// The elements so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The bytes that [`Writer::finish`] would give now.
    pub fn byte_len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Adds a string, as an integer if it is one.
    pub fn push(&mut self, string: &[u8]) {
        match canonical_integer(string) {
            Some(number) => self.push_integer(number),
            None => self.push_string(string),
        }
    }

    /// Adds an element of another listpack.
    pub(super) fn push_item(&mut self, item: Item<'_>) {
        match item {
            Item::Int(number) => self.push_integer(number),
            Item::Str(string) => self.push_string(string),
        }
    }

    /// Adds an integer in its shortest form.
    pub fn push_integer(&mut self, number: i64) {
        let start = self.bytes.len();
        let wide = number.to_le_bytes();
        let (tag, width) = match number {
            0..=127 => (number as u8, 0),
            -4096..=4095 => {
                let bits = (number & 0x1fff) as u16 | 0xc000;
                self.bytes.push((bits >> 8) as u8);
                (bits as u8, 0)
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&wide[..width]);
        self.end_entry(start);
    }

    /// Adds a string as it is. It must be shorter than 4 GB.
    pub fn push_string(&mut self, string: &[u8]) {
        let start = self.bytes.len();
        let len = string.len();
        match len {
            0..64 => self.bytes.push(0x80 | len as u8),
            64..4096 => self
                .bytes
                .extend_from_slice(&(0xe000 | len as u16).to_be_bytes()),
            _ => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(string);
        self.end_entry(start);
    }

    /// The listpack.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }

    fn end_entry(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        let (mut backward, mut width) = backward_length(len);
        if self.longer && has_two_widths(len) {
            (backward, width) = backward_length_of(len, width + 1);
        }
        self.bytes.extend_from_slice(&backward[..width]);
        self.count += 1;
    }
}
