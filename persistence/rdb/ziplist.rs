//! The older small blocks: the ziplist (lists, hashes and sorted sets before Redis 7) and the
//! zipmap (hashes before Redis 2.6). Read only.
//!
//! A ziplist is `total bytes u32`, `offset of the last entry u32`, `count u16` (65535: more),
//! entries, `0xff`; little-endian. An entry is the length of the one before (a byte, or 254 and a
//! u32), its encoding, its data.
//!
//! | encoding | meaning |
//! |---|---|
//! | `00LLLLLL`; `01LLLLLL` + 1 byte; `0x80` + 4 bytes | string of L bytes, big-endian |
//! | `0xc0`, `0xd0`, `0xe0`, `0xf0`, `0xfe` | integer of 2, 4, 8, 3, 1 bytes |
//! | `0xf1` to `0xfd` | integer 0 to 12 |

use super::RdbError;
use super::listpack::{Item, split_integer};

const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
/// A length in four bytes follows.
const LONG: u8 = 254;
const CORRUPT: RdbError = RdbError::Corrupt("ziplist");

/// Validates a ziplist whole; gives its elements.
pub fn items(ziplist: &[u8]) -> Result<Vec<Item<'_>>, RdbError> {
    let (head, entries) = ziplist.split_first_chunk::<HEADER_BYTES>().ok_or(CORRUPT)?;
    let total = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let tail = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let count = u16::from_le_bytes([head[8], head[9]]);
    if total as usize != ziplist.len() {
        return Err(CORRUPT);
    }
    let mut items = Vec::new();
    let (mut rest, mut before, mut last) = (entries, 0, HEADER_BYTES);
    while rest != [END] {
        last = ziplist.len() - rest.len();
        let (length_before, entry) = split_length(rest).ok_or(CORRUPT)?;
        if length_before != before {
            return Err(CORRUPT);
        }
        let (item, behind) = split_data(entry).ok_or(CORRUPT)?;
        items.push(item);
        before = rest.len() - behind.len();
        rest = behind;
    }
    if tail != last || (count != u16::MAX && usize::from(count) != items.len()) {
        return Err(CORRUPT);
    }
    Ok(items)
}

/// A length of one byte, or of four behind the byte 254.
fn split_length(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = input.split_first()?;
    match first {
        0..LONG => Some((first.into(), rest)),
        LONG => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((u32::from_le_bytes(*len) as usize, rest))
        }
        END => None,
    }
}

fn split_data(input: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (&first, rest) = input.split_first()?;
    let (len, rest) = match first {
        0x00..=0x3f => (first.into(), rest),
        0x40..=0x7f => {
            let (low, rest) = rest.split_first()?;
            (usize::from(first & 0x3f) << 8 | usize::from(*low), rest)
        }
        0x80 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        0xc0 => return split_integer::<2>(rest),
        0xd0 => return split_integer::<4>(rest),
        0xe0 => return split_integer::<8>(rest),
        0xf0 => return split_integer::<3>(rest),
        0xfe => return split_integer::<1>(rest),
        0xf1..=0xfd => return Some((Item::Int(i64::from(first) - 0xf1), rest)),
        _ => return None,
    };
    let (string, rest) = rest.split_at_checked(len)?;
    Some((Item::Str(string), rest))
}

/// Validates a zipmap whole; gives its fields and values, one after the other.
pub fn zipmap_items(zipmap: &[u8]) -> Result<Vec<Item<'_>>, RdbError> {
    const CORRUPT: RdbError = RdbError::Corrupt("zipmap");
    let (&count, mut rest) = zipmap.split_first().ok_or(CORRUPT)?;
    let mut items = Vec::new();
    while rest != [END] {
        let (field, value, behind) = split_pair(rest).ok_or(CORRUPT)?;
        items.extend([Item::Str(field), Item::Str(value)]);
        rest = behind;
    }
    if count < LONG && usize::from(count) != items.len() / 2 {
        return Err(CORRUPT);
    }
    Ok(items)
}

/// Field, value and what follows; a value has spare bytes behind it, counted before it.
fn split_pair(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (len, rest) = split_length(input)?;
    let (field, rest) = rest.split_at_checked(len)?;
    let (len, rest) = split_length(rest)?;
    let (&spare, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(len)?;
    Some((field, value, rest.get(usize::from(spare)..)?))
}
