//! Reading arguments: numbers, words, expiry options; with the field's error
//! texts. All of it is pure.

use super::error::CommandError;
use crate::number;

/// A 64-bit integer, else "value is not an integer or out of range".
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(arg).ok_or(CommandError::NotInteger)
}

/// A floating point number (not NaN), else "value is not a valid float".
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    number::parse_f64(arg).ok_or(CommandError::NotFloat)
}

/// Whether an argument is this word, in any case.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// An integer between bounds, else an error with this text.
pub fn integer_between(
    arg: &[u8],
    bounds: std::ops::RangeInclusive<i64>,
    text: &str,
) -> Result<i64, CommandError> {
    let value = integer(arg).map_err(|_| CommandError::err(text))?;
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err(CommandError::err(text))
    }
}

/// How a relative or absolute time is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Unix seconds.
    UnixSeconds,
    /// Unix milliseconds.
    UnixMillis,
}

impl TimeUnit {
    /// Whether the time is counted from now.
    pub fn is_relative(self) -> bool {
        matches!(self, TimeUnit::Seconds | TimeUnit::Millis)
    }

    /// The absolute Unix milliseconds of `value`; None when that overflows.
    pub fn to_unix_ms(self, value: i64, now_ms: i64) -> Option<i64> {
        let ms = match self {
            TimeUnit::Seconds | TimeUnit::UnixSeconds => value.checked_mul(1000)?,
            TimeUnit::Millis | TimeUnit::UnixMillis => value,
        };
        if self.is_relative() {
            ms.checked_add(now_ms)
        } else {
            Some(ms)
        }
    }
}

/// A timeout in seconds, perhaps with a fraction or in hexadecimal, as
/// blocking commands take it; in milliseconds.
pub fn timeout_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let seconds = number::parse_f64_clamped(arg)
        .or_else(|| hexadecimal(arg))
        .ok_or_else(|| CommandError::err("timeout is not a float or out of range"))?;
    let ms = (seconds * 1000.0).ceil();
    if ms >= (i64::MAX - crate::state::unix_ms()) as f64 {
        return Err(CommandError::err("timeout is out of range"));
    }
    if ms < 0.0 {
        return Err(CommandError::err("timeout is negative"));
    }
    Ok(ms as u64)
}

/// A number as C writes it in hexadecimal: `0x1.8p-4`.
fn hexadecimal(arg: &[u8]) -> Option<f64> {
    let (sign, rest) = match arg {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        rest => (1.0, rest),
    };
    let rest = rest.strip_prefix(b"0x").or(rest.strip_prefix(b"0X"))?;
    let mut parts = rest.splitn(2, |byte| byte.eq_ignore_ascii_case(&b'p'));
    let mantissa = parts.next().unwrap_or_default();
    let mut exponent = match parts.next() {
        Some(text) => std::str::from_utf8(text).ok()?.parse::<i32>().ok()?,
        None => 0,
    };
    let point = mantissa.iter().position(|&byte| byte == b'.');
    let (mut value, mut digits) = (0.0, 0);
    for (at, &byte) in mantissa.iter().enumerate() {
        if Some(at) != point {
            value = value * 16.0 + f64::from(char::from(byte).to_digit(16)?);
            digits += 1;
        }
    }
    let behind_point = point.map_or(0, |at| mantissa.len() - at - 1);
    exponent = exponent.saturating_sub(4 * i32::try_from(behind_point).ok()?);
    (digits != 0).then(|| sign * value * f64::from(exponent).exp2())
}
