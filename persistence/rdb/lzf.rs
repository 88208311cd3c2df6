//! LZF, the compression of strings in an RDB file.
//!
//! | first byte | meaning |
//! |---|---|
//! | `000LLLLL` | L + 1 literal bytes follow |
//! | `LLLOOOOO` + `o` | copy L + 2 bytes (L in 1..=6) from 1 + `O:o` bytes back |
//! | `111OOOOO` + `l` + `o` | copy l + 9 bytes from 1 + `O:o` bytes back |

use super::RdbError;

const MAX_LITERALS: usize = 32;
const MAX_COPY: usize = 264;
const MAX_DISTANCE: usize = 1 << 13;
/// The table of places grows with the input, up to so many bits: to clear a large one takes longer
/// than to compress a short string.
const MAX_HASH_BITS: u32 = 13;
const MIN_HASH_BITS: u32 = 6;

/// Decompresses `input`, which must give exactly `len` bytes.
///
/// Allocates nothing if `len` is more than input of this size can hold (88 times as much).
pub fn decompress(input: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    const CORRUPT: RdbError = RdbError::Corrupt("compressed string");
    if len > input.len().saturating_mul(MAX_COPY / 3) {
        return Err(CORRUPT);
    }
    let mut out = Vec::with_capacity(len);
    let mut at = 0;
    let mut next = || {
        let byte = input.get(at).copied();
        at += 1;
        byte.map(usize::from).ok_or(CORRUPT)
    };
    while let Ok(control) = next() {
        if control < MAX_LITERALS {
            for _ in 0..=control {
                out.push(next()? as u8);
            }
        } else {
            let mut run = control >> 5;
            if run == 7 {
                run += next()?;
            }
            let distance = ((control & 0x1f) << 8 | next()?) + 1;
            let from = out.len().checked_sub(distance).ok_or(CORRUPT)?;
            if out.len() + run + 2 > len {
                return Err(CORRUPT);
            }
            for i in from..from + run + 2 {
                out.push(out[i]);
            }
        }
        if out.len() > len {
            return Err(CORRUPT);
        }
    }
    if out.len() == len {
        Ok(out)
    } else {
        Err(CORRUPT)
    }
}

/// Compresses `input`; `None` if that would not save at least 4 bytes.
pub fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let room = input.len().checked_sub(4)?;
    let mut out = Vec::with_capacity(room);
    let bits = input.len().ilog2().clamp(MIN_HASH_BITS, MAX_HASH_BITS);
    let mut seen = vec![u32::MAX; 1 << bits];
    let mut literals_from = 0;
    let mut at = 0;
    while at + 3 <= input.len() && at < u32::MAX as usize {
        let key = u32::from_le_bytes([input[at], input[at + 1], input[at + 2], 0]);
        let slot = &mut seen[(key.wrapping_mul(2654435761) >> (32 - bits)) as usize];
        let from = std::mem::replace(slot, at as u32) as usize;
        let is_match =
            from < at && at - from <= MAX_DISTANCE && input[from..from + 3] == input[at..at + 3];
        if !is_match {
            at += 1;
            continue;
        }
        let most = MAX_COPY.min(input.len() - at);
        let same = (3..most).take_while(|i| input[from + i] == input[at + i]);
        let run = 3 + same.count();
        put_literals(&mut out, &input[literals_from..at]);
        let (length, distance) = (run - 2, at - from - 1);
        if length < 7 {
            out.push((length << 5 | distance >> 8) as u8);
        } else {
            out.push((7 << 5 | distance >> 8) as u8);
            out.push((length - 7) as u8);
        }
        out.push(distance as u8);
        at += run;
        literals_from = at;
        if out.len() > room {
            return None;
        }
    }
    put_literals(&mut out, &input[literals_from..]);
    (out.len() <= room).then_some(out)
}

fn put_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(MAX_LITERALS) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}
