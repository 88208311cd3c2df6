//! The dense representation: 6 bits for each register, from the lowest bit of
//! the first byte on.

use super::REGISTERS;

/// Bits of a register.
const BITS: usize = 6;
/// The largest value of a register.
const MASK: u16 = (1 << BITS) - 1;
/// Bytes of all registers.
pub const SIZE: usize = REGISTERS * BITS / 8;

/// A register's value.
pub fn get(registers: &[u8], index: usize) -> u8 {
    let (byte, shift) = (index * BITS / 8, index * BITS % 8);
    let next = registers.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([registers[byte], next]);
    (both >> shift & MASK) as u8
}

/// Gives a register a value.
pub fn set(registers: &mut [u8], index: usize, value: u8) {
    let (byte, shift) = (index * BITS / 8, index * BITS % 8);
    let next = registers.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([registers[byte], next]);
    let both = both & !(MASK << shift) | (u16::from(value) & MASK) << shift;
    let [low, high] = both.to_le_bytes();
    registers[byte] = low;
    if let Some(next) = registers.get_mut(byte + 1) {
        *next = high;
    }
}

/// All values in order.
pub fn values(registers: &[u8]) -> impl Iterator<Item = u8> {
    let (groups, _) = registers.as_chunks::<3>();
    groups.iter().flat_map(|&[a, b, c]| {
        let four = u32::from_le_bytes([a, b, c, 0]);
        [0, 6, 12, 18].map(|shift| (four >> shift) as u8 & MASK as u8)
    })
}
