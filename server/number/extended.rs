//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! The field's servers add in x86's 80-bit extended format (64 bits of
//! mantissa, 15 of exponent) and print with 17 decimals, trailing zeros
//! removed. Replicas and clients compare such texts, so this module does the
//! same, bit for bit, in integers: decimal or hexadecimal text is rounded to
//! 64 bits, half to even, the sum likewise, and printing is exact.

use std::fmt;

/// The longest text that is taken for a number.
const MAX_TEXT_BYTES: usize = 5 * 1024 - 1;
/// Exponents of the highest bit: beyond is an overflow ...
const MAX_TOP_EXPONENT: i64 = 16383;
/// ... and below is zero.
const MIN_TOP_EXPONENT: i64 = -16446;

/// Why two numbers can't be added; `Display` is the error reply's text
/// without its leading `ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDoubleError {
    /// One of the texts is no number, or out of range.
    NotAFloat,
    /// The sum is infinite or undefined.
    NanOrInfinity,
}

impl fmt::Display for LongDoubleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAFloat => "value is not a valid float",
            Self::NanOrInfinity => "increment would produce NaN or Infinity",
        })
    }
}

impl std::error::Error for LongDoubleError {}

/// `mantissa * 2^exponent`; a mantissa other than 0 has its highest bit set.
#[derive(Clone, Copy, Debug)]
struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

/// Adds two numbers given as text and returns the sum as text.
pub fn add_long_double(a: &[u8], b: &[u8]) -> Result<String, LongDoubleError> {
    let a = parse(a)?;
    let b = parse(b)?;
    match (a, b) {
        (Some(a), Some(b)) => {
            let sum = add(a, b);
            let top = sum.exponent + 63;
            if sum.mantissa != 0 && top > MAX_TOP_EXPONENT {
                return Err(LongDoubleError::NanOrInfinity);
            }
            Ok(print(sum))
        }
        _ => Err(LongDoubleError::NanOrInfinity),
    }
}

/// Reads a number as C's `strtold` does; `None` is an infinity.
fn parse(text: &[u8]) -> Result<Option<Extended>, LongDoubleError> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return Err(LongDoubleError::NotAFloat);
    }
    let (negative, body) = match text {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] => (false, body),
        body => (false, body),
    };
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Ok(None);
    }
    let (magnitude, is_zero) = match body {
        [b'0', b'x' | b'X', hex @ ..] => read_hexadecimal(hex),
        decimal => read_decimal(decimal),
    }
    .ok_or(LongDoubleError::NotAFloat)?;
    let top = magnitude.exponent + 63;
    let in_range = (MIN_TOP_EXPONENT..=MAX_TOP_EXPONENT).contains(&top);
    if !is_zero && (magnitude.mantissa == 0 || !in_range) {
        return Err(LongDoubleError::NotAFloat);
    }
    Ok(Some(Extended {
        negative,
        ..magnitude
    }))
}

/// The digits of a number without its point: the digits' values, how many of
/// them stood behind the point, and the exponent.
fn scan(text: &[u8], radix: u32, marks: [u8; 2]) -> Option<(Vec<u8>, i64, i64)> {
    let mut digits = Vec::with_capacity(text.len());
    let (mut fraction, mut exponent) = (0_i64, 0_i64);
    let mut seen_point = false;
    for (at, &byte) in text.iter().enumerate() {
        if let Some(digit) = char::from(byte).to_digit(radix) {
            digits.push(digit as u8);
            fraction += i64::from(seen_point);
        } else if byte == b'.' && !seen_point {
            seen_point = true;
        } else if marks.contains(&byte) {
            exponent = read_exponent(&text[at + 1..])?;
            break;
        } else {
            return None;
        }
    }
    (!digits.is_empty()).then_some((digits, fraction, exponent))
}

/// Reads a decimal exponent; one beyond all bounds is clamped.
fn read_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1_000_000)
    });
    Some(sign * magnitude)
}

fn read_decimal(text: &[u8]) -> Option<(Extended, bool)> {
    let (digits, fraction, exponent) = scan(text, 10, [b'e', b'E'])?;
    let scale = exponent - fraction;
    let first = digits.iter().position(|&digit| digit != 0);
    let Some(first) = first else {
        return Some((ZERO, true));
    };
    let digits = &digits[first..];
    // Far outside the range there is no need for the exact value.
    let magnitude = digits.len() as i64 + scale;
    if !(-4_970..=4_940).contains(&magnitude) {
        return Some((ZERO, false));
    }
    let mut numerator = Natural::from(0);
    for &digit in digits {
        numerator.multiply_add(10, u32::from(digit));
    }
    let mut denominator = Natural::from(1);
    let scaled = if scale >= 0 {
        &mut numerator
    } else {
        &mut denominator
    };
    for _ in 0..scale.unsigned_abs() {
        scaled.multiply_add(10, 0);
    }
    Some((divide(numerator, denominator), false))
}

fn read_hexadecimal(text: &[u8]) -> Option<(Extended, bool)> {
    let (digits, fraction, exponent) = scan(text, 16, [b'p', b'P'])?;
    let mut numerator = Natural::from(0);
    for &digit in &digits {
        numerator.multiply_add(16, u32::from(digit));
    }
    if numerator.bits() == 0 {
        return Some((ZERO, true));
    }
    let mut value = divide(numerator, Natural::from(1));
    value.exponent += exponent - 4 * fraction;
    Some((value, false))
}

const ZERO: Extended = Extended {
    negative: false,
    mantissa: 0,
    exponent: 0,
};

/// The quotient of two positive numbers, rounded to 64 bits.
fn divide(mut numerator: Natural, mut denominator: Natural) -> Extended {
    // Bring the quotient into [1/2, 2), then take its bits one by one.
    let shift = numerator.bits() as i64 - denominator.bits() as i64;
    if shift >= 0 {
        denominator.shift_left(shift as usize);
    } else {
        numerator.shift_left(-shift as usize);
    }
    const BITS: i64 = 67;
    let mut quotient = 0_u128;
    for _ in 0..BITS {
        quotient <<= 1;
        if numerator.at_least(&denominator) {
            numerator.subtract(&denominator);
            quotient |= 1;
        }
        numerator.shift_left(1);
    }
    let sticky = u128::from(numerator.bits() != 0);
    round(false, quotient << 1 | sticky, shift - BITS)
}

/// Rounds `mantissa * 2^exponent` to 64 bits, half to even.
fn round(negative: bool, mantissa: u128, exponent: i64) -> Extended {
    if mantissa == 0 {
        return ZERO;
    }
    let bits = 128 - i64::from(mantissa.leading_zeros());
    if bits <= 64 {
        return Extended {
            negative,
            mantissa: (mantissa << (64 - bits)) as u64,
            exponent: exponent - (64 - bits),
        };
    }
    let drop = bits - 64;
    let kept = (mantissa >> drop) as u64;
    let rest = mantissa & ((1 << drop) - 1);
    let half = 1_u128 << (drop - 1);
    let exponent = exponent + drop;
    let up = rest > half || (rest == half && kept & 1 == 1);
    match kept.checked_add(u64::from(up)) {
        Some(mantissa) => Extended {
            negative,
            mantissa,
            exponent,
        },
        None => Extended {
            negative,
            mantissa: 1 << 63,
            exponent: exponent + 1,
        },
    }
}

fn add(a: Extended, b: Extended) -> Extended {
    if a.mantissa == 0 {
        return b;
    }
    if b.mantissa == 0 {
        return a;
    }
    let (large, small) = if a.exponent >= b.exponent {
        (a, b)
    } else {
        (b, a)
    };
    // 62 guard bits; what falls below them is kept as one sticky bit.
    const GUARD: i64 = 62;
    let high = u128::from(large.mantissa) << GUARD;
    let full = u128::from(small.mantissa) << GUARD;
    let distance = large.exponent - small.exponent;
    let low = if distance >= 127 {
        1
    } else {
        let shifted = full >> distance;
        shifted | u128::from(shifted << distance != full)
    };
    let exponent = large.exponent - GUARD;
    if large.negative == small.negative {
        round(large.negative, high + low, exponent)
    } else if high >= low {
        round(large.negative, high - low, exponent)
    } else {
        round(small.negative, low - high, exponent)
    }
}

/// Prints with 17 decimals, rounded half to even, without trailing zeros.
fn print(value: Extended) -> String {
    const DECIMALS: usize = 17;
    let mut text = String::new();
    if value.exponent >= 0 {
        let mut integer = Natural::from(value.mantissa);
        integer.shift_left(value.exponent as usize);
        text = integer.to_decimal();
    } else {
        let scaled = u128::from(value.mantissa) * 10_u128.pow(DECIMALS as u32);
        let shift = -value.exponent;
        let rounded = if shift >= 128 {
            0
        } else {
            let kept = scaled >> shift;
            let rest = scaled & ((1 << shift) - 1);
            let half = 1_u128 << (shift - 1);
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        };
        let digits = format!("{rounded:0width$}", width = DECIMALS + 1);
        let (integer, fraction) = digits.split_at(digits.len() - DECIMALS);
        text.push_str(integer);
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            text.push('.');
            text.push_str(fraction);
        }
    }
    if value.negative && text != "0" {
        text.insert(0, '-');
    }
    text
}

/// A natural number of any size, in 32-bit digits, the lowest first and the
/// highest never 0.
#[derive(Debug)]
struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut natural = Self(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> usize {
        match self.0.last() {
            Some(top) => self.0.len() * 32 - top.leading_zeros() as usize,
            None => 0,
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for digit in &mut self.0 {
            let product = u64::from(*digit) * u64::from(factor) + carry;
            *digit = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        let (words, bits) = (bits / 32, bits % 32);
        if bits != 0 {
            self.multiply_add(1 << bits, 0);
        }
        if words != 0 && !self.0.is_empty() {
            self.0.splice(..0, std::iter::repeat_n(0, words));
        }
    }

    fn at_least(&self, other: &Self) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
            .is_ge()
    }

    /// Takes `other`, which is not larger, away.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, digit) in self.0.iter_mut().enumerate() {
            let taken = other.0.get(at).copied().unwrap_or(0);
            let (value, first) = digit.overflowing_sub(taken);
            let (value, second) = value.overflowing_sub(u32::from(borrow));
            *digit = value;
            borrow = first || second;
        }
        self.trim();
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.0.clone();
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let mut remainder = 0_u64;
            for digit in rest.iter_mut().rev() {
                let value = remainder << 32 | u64::from(*digit);
                *digit = (value / 1_000_000_000) as u32;
                remainder = value % 1_000_000_000;
            }
            groups.push(remainder);
            while rest.last() == Some(&0) {
                rest.pop();
            }
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}
