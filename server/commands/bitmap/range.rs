//! Ranges of bits, counting and searching in them.

use crate::commands::args;
use crate::commands::error::CommandError;

/// A range as BITCOUNT and BITPOS take it: `start [end [BYTE | BIT]]`.
pub struct Range {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Range {
    /// Reads up to three arguments; no argument is the whole string.
    pub fn parse(args: &[&[u8]]) -> Result<Range, CommandError> {
        if args.len() > 3 {
            return Err(CommandError::Syntax);
        }
        let start = args.first().map_or(Ok(0), |arg| args::integer(arg))?;
        let in_bits = match args.get(2) {
            Some(unit) if args::is(unit, "BIT") => true,
            Some(unit) if !args::is(unit, "BYTE") => return Err(CommandError::Syntax),
            _ => false,
        };
        let end = args.get(1).map(|arg| args::integer(arg)).transpose()?;
        Ok(Range {
            start,
            end,
            in_bits,
        })
    }

    /// Whether the end is given.
    pub fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Whether both indexes count from the end and are in the wrong order.
    pub fn is_reversed(&self) -> bool {
        let end = self.end.unwrap_or(-1);
        self.start < 0 && end < 0 && self.start > end
    }

    /// The bits meant in a string of `len` bytes, None when there are none.
    pub fn bits(&self, len: usize) -> Option<std::ops::Range<u64>> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = len as i64 * 8 / unit;
        let from_front = |index: i64| if index < 0 { index + total } else { index }.max(0);
        let start = from_front(self.start);
        let end = from_front(self.end.unwrap_or(-1)).min(total - 1);
        (start <= end).then(|| (start * unit) as u64..((end + 1) * unit) as u64)
    }
}

/// How many bits of the range, which lies within the string, are set.
pub fn count_ones(bytes: &[u8], bits: std::ops::Range<u64>) -> u64 {
    let (first, last) = ((bits.start >> 3) as usize, ((bits.end - 1) >> 3) as usize);
    let (chunks, rest) = bytes[first..=last].as_chunks::<8>();
    let mut count: u64 = chunks
        .iter()
        .map(|chunk| u64::from(u64::from_ne_bytes(*chunk).count_ones()))
        .sum();
    count += rest.iter().map(|b| u64::from(b.count_ones())).sum::<u64>();
    let before = !(0xff_u8 >> (bits.start & 7));
    let after = (0x7f_u32 >> ((bits.end - 1) & 7)) as u8;
    count
        - u64::from((bytes[first] & before).count_ones())
        - u64::from((bytes[last] & after).count_ones())
}

/// The first bit of the range, which lies within the string, that is `bit`.
pub fn position(bytes: &[u8], bits: std::ops::Range<u64>, bit: bool) -> Option<u64> {
    let mut at = bits.start;
    let flip = if bit { 0 } else { 0xff };
    while at < bits.end {
        let byte = (at >> 3) as usize;
        let candidates = (bytes[byte] ^ flip) & (0xff >> (at & 7));
        if candidates != 0 {
            let found = (byte as u64) * 8 + u64::from(candidates.leading_zeros());
            return (found < bits.end).then_some(found);
        }
        let rest = &bytes[byte + 1..];
        let (chunks, _) = rest.as_chunks::<8>();
        let dull = [flip; 8];
        let skipped = chunks.iter().take_while(|chunk| **chunk == dull).count() * 8;
        at = (byte as u64 + 1 + skipped as u64) * 8;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{count_ones, position};

    #[test]
    fn counting_and_searching_agree_with_bit_by_bit() {
        let mut bytes = [0_u8; 40];
        bytes[3] = 0x14;
        bytes[30] = 0xff;
        bytes[31] = 0x7e;
        let bit = |at: u64| bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1;
        for start in 0..320 {
            for end in start + 1..=320 {
                let ones = (start..end).filter(|at| bit(*at)).count() as u64;
                assert_eq!(count_ones(&bytes, start..end), ones);
                for wanted in [false, true] {
                    let first = (start..end).find(|at| bit(*at) == wanted);
                    assert_eq!(position(&bytes, start..end, wanted), first);
                }
            }
        }
    }
}
