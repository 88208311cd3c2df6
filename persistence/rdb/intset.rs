//! The intset: a small set of integers in one block of bytes.
//!
//! `width u32` (2, 4 or 8), `count u32`, the integers in ascending order; all little-endian.

use super::RdbError;
use super::listpack::{Item, split_integer};

const CORRUPT: RdbError = RdbError::Corrupt("intset");

/// Validates an intset whole; gives its members in ascending order.
pub fn members(intset: &[u8]) -> Result<Vec<i64>, RdbError> {
    let (width, rest) = intset.split_first_chunk().ok_or(CORRUPT)?;
    let (count, mut rest) = rest.split_first_chunk().ok_or(CORRUPT)?;
    let width = u32::from_le_bytes(*width) as usize;
    let count = u32::from_le_bytes(*count) as usize;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(rest.len()) {
        return Err(CORRUPT);
    }
    let mut members = Vec::with_capacity(count);
    while !rest.is_empty() {
        let split = match width {
            2 => split_integer::<2>(rest),
            4 => split_integer::<4>(rest),
            _ => split_integer::<8>(rest),
        };
        let Some((Item::Int(member), behind)) = split else {
            return Err(CORRUPT);
        };
        members.push(member);
        rest = behind;
    }
    if !members.is_sorted_by(|a, b| a < b) {
        return Err(CORRUPT);
    }
    Ok(members)
}

/// The intset of `members`, which must be in ascending order.
pub fn from_members(members: &[i64]) -> Vec<u8> {
    debug_assert!(members.is_sorted_by(|a, b| a < b));
    let fits = |width: usize| {
        let bits = 8 * width as u32 - 1;
        members.iter().all(|m| *m >> bits == 0 || *m >> bits == -1)
    };
    let width = [2, 4].into_iter().find(|width| fits(*width)).unwrap_or(8);
    let mut out = Vec::with_capacity(8 + width * members.len());
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    for member in members {
        out.extend_from_slice(&member.to_le_bytes()[..width]);
    }
    out
}
