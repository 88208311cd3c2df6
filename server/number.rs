//! Numbers as text: how clients may write them, and how replies show them.
//!
//! Integers are strict: no sign `+`, no leading zeros, no spaces. Doubles are
//! read as C's `strtod` reads them, less hexadecimal, and printed in the
//! shortest form that reads back as the same value. INCRBYFLOAT's arithmetic,
//! which the field does in 80-bit extended precision, is in [`extended`].

pub mod extended;

pub use extended::add_long_double;

/// Reads a signed integer in canonical decimal form: what would be printed
/// for the value, and nothing else.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = parse_u64(digits)?;
    if !negative {
        return i64::try_from(magnitude).ok();
    }
    if magnitude == 0 || magnitude > i64::MIN.unsigned_abs() {
        return None;
    }
    Some((magnitude as i64).wrapping_neg())
}

/// Reads an unsigned integer in canonical decimal form.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => {}
        _ => return None,
    }
    let mut value = 0_u64;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads a double: decimal, with or without point and exponent, or `inf` and
/// `infinity` in any case. Refused are NaN, hexadecimal, white space, and
/// values that overflow or underflow the type.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value = parse_f64_clamped(text)?;
    let mut mantissa = text.split(|byte| matches!(byte, b'e' | b'E'));
    let mantissa = mantissa.next().unwrap_or_default();
    if value.is_infinite() && mantissa.iter().any(u8::is_ascii_digit) {
        return None;
    }
    if value == 0.0 && mantissa.iter().any(|digit| (b'1'..=b'9').contains(digit)) {
        return None;
    }
    Some(value)
}

/// The same, but what overflows is read as infinite, and what underflows as
/// zero.
pub fn parse_f64_clamped(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Appends `value` as replies show doubles: integral values without a point,
/// others with the fewest digits that identify them, in scientific notation
/// (`1e+21`, `1.5e-7`) when they are far from 1.
pub fn format_f64(value: f64, out: &mut Vec<u8>) {
    const SAFE_INTEGER: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= SAFE_INTEGER && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        let mut shortest = ryu::Buffer::new();
        lay_out(shortest.format_finite(value).as_bytes(), out);
    }
}

/// Lays out the shortest digits, which come as `-12.5`, `1e25` or `1.5e-7`,
/// in the field's way.
fn lay_out(shortest: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0_u8; 24];
    let (mut count, mut fraction, mut exponent) = (0, 0_i32, 0_i32);
    let mut in_fraction = false;
    for (at, &byte) in shortest.iter().enumerate() {
        match byte {
            b'-' => out.push(b'-'),
            b'.' => in_fraction = true,
            b'e' => {
                exponent = parse_i64(&shortest[at + 1..]).unwrap_or_default() as i32;
                break;
            }
            digit => {
                fraction += i32::from(in_fraction);
                // Leading zeros carry no digit.
                if count > 0 || digit != b'0' {
                    digits[count] = digit;
                    count += 1;
                }
            }
        }
    }
    // The value is digits * 10^scale.
    let mut scale = exponent - fraction;
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
        scale += 1;
    }
    lay_out_digits(&digits[..count], scale, out);
}

fn lay_out_digits(digits: &[u8], scale: i32, out: &mut Vec<u8>) {
    let count = digits.len() as i32;
    let exponent = scale + count - 1;
    if scale >= 0 && exponent < count + 7 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', scale as usize));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let point = count + scale;
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', -point as usize));
            out.extend_from_slice(digits);
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests;
