//! Integers of 1 to 64 bits at any bit of a string, and their overflow.

use crate::number::parse_i64;

/// How wide an integer is and whether it has a sign.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    /// Whether it is two's complement.
    pub signed: bool,
    /// 1 to 64, unsigned to 63.
    pub bits: u32,
}

/// What becomes of a value that doesn't fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Its low bits are taken.
    Wrap,
    /// The nearest value that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl Encoding {
    /// Reads `i5`, `u63` and the like.
    pub fn parse(arg: &[u8]) -> Option<Encoding> {
        let (signed, bits) = match arg {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return None,
        };
        let widest = if signed { 64 } else { 63 };
        let bits = parse_i64(bits).filter(|bits| (1..=widest).contains(bits))?;
        Some(Encoding {
            signed,
            bits: bits as u32,
        })
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The value that these low bits stand for.
    fn value_of(self, raw: u64) -> i64 {
        if self.signed {
            let unused = 64 - self.bits;
            ((raw << unused) as i64) >> unused
        } else {
            (raw & self.mask()) as i64
        }
    }

    /// Reads the integer at a bit offset; beyond the string there are zeros.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let (window, shift) = (window(bytes, offset), self.shift(offset));
        self.value_of((window >> shift) as u64)
    }

    /// Writes the integer at a bit offset within the string.
    pub fn set(self, bytes: &mut [u8], offset: u64, value: i64) {
        let shift = self.shift(offset);
        let cleared = window(bytes, offset) & !(u128::from(self.mask()) << shift);
        let new = cleared | u128::from(value as u64 & self.mask()) << shift;
        let to = &mut bytes[(offset >> 3) as usize..];
        let len = to.len().min(WINDOW);
        to[..len].copy_from_slice(&new.to_be_bytes()[16 - WINDOW..][..len]);
    }

    fn shift(self, offset: u64) -> u32 {
        WINDOW as u32 * 8 - (offset & 7) as u32 - self.bits
    }

    /// `value` made to fit; None when it doesn't and must not be written.
    pub fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (lowest, highest) = if self.signed {
            (
                -(1_i128 << (self.bits - 1)),
                (1_i128 << (self.bits - 1)) - 1,
            )
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if (lowest..=highest).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.value_of(value as u64)),
            Overflow::Saturate => Some(value.clamp(lowest, highest) as i64),
            Overflow::Fail => None,
        }
    }
}

/// Bytes that 64 bits can touch.
const WINDOW: usize = 9;

fn window(bytes: &[u8], offset: u64) -> u128 {
    let from = bytes.get((offset >> 3) as usize..).unwrap_or_default();
    let len = from.len().min(WINDOW);
    let mut window = [0_u8; 16];
    window[16 - WINDOW..][..len].copy_from_slice(&from[..len]);
    u128::from_be_bytes(window)
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Overflow};

    #[test]
    fn what_is_written_is_read_and_leaves_its_neighbours() {
        for bits in 1..=64 {
            for offset in 0..16 {
                let encoding = Encoding { signed: true, bits };
                let mut bytes = vec![0xff; 10];
                encoding.set(&mut bytes, offset, 0);
                assert_eq!(encoding.get(&bytes, offset), 0);
                let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
                assert_eq!(ones, 80 - bits);
                encoding.set(&mut bytes, offset, -1);
                assert_eq!(encoding.get(&bytes, offset), -1);
                assert_eq!(bytes, [0xff; 10]);
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_wrap_saturate_or_fail() {
        let small = Encoding::parse(b"i8").unwrap();
        assert_eq!(small.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(small.fit(-129, Overflow::Saturate), Some(-128));
        assert_eq!(small.fit(128, Overflow::Fail), None);
        let unsigned = Encoding::parse(b"u8").unwrap();
        assert_eq!(unsigned.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(unsigned.fit(-1, Overflow::Saturate), Some(0));
        assert!(Encoding::parse(b"u64").is_none());
    }
}
