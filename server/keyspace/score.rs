//! A sorted set's score as text, and as the entry of a listpack.
//!
//! The text is the shortest that reads back as the same number, laid out as
//! Redis lays it out: `3`, `0.1`, `1.5e-7`, `1e+25`, `inf`, `-inf`.

use super::listpack::Entry;

/// Room for the text of any score.
#[derive(Clone, Copy, Debug)]
pub struct ScoreBuffer {
    bytes: [u8; 48],
    len: usize,
}

impl Default for ScoreBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl ScoreBuffer {
    pub fn new() -> Self {
        Self {
            bytes: [0; 48],
            len: 0,
        }
    }

    fn put(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn put_zeros(&mut self, count: usize) {
        self.bytes[self.len..self.len + count].fill(b'0');
        self.len += count;
    }

    /// The text of a score.
    pub fn format(&mut self, score: f64) -> &[u8] {
        self.len = 0;
        match as_integer(score) {
            _ if score.is_nan() => self.put(b"nan"),
            _ if score.is_infinite() => self.put(if score > 0.0 { b"inf" } else { b"-inf" }),
            Some(0) if score.is_sign_negative() => self.put(b"-0"),
            Some(number) => self.put(itoa::Buffer::new().format(number).as_bytes()),
            None => self.lay_out(score),
        }
        &self.bytes[..self.len]
    }

    /// Writes a finite number that is not a small integer.
    fn lay_out(&mut self, score: f64) {
        let mut ryu = ryu::Buffer::new();
        let text = ryu.format_finite(score.abs()).as_bytes();
        let (digits, count, exponent) = decimal(text);
        let digits = &digits[..count];
        if score < 0.0 {
            self.put(b"-");
        }
        // `exponent` is the power of ten of the last digit, `order` of the
        // first.
        let order = exponent + count as i32 - 1;
        if exponent >= 0 && order < count as i32 + 7 {
            self.put(digits);
            self.put_zeros(exponent as usize);
        } else if exponent < 0 && (exponent > -7 || order.abs() < 4) {
            match usize::try_from(order + 1) {
                Ok(whole) if whole > 0 => {
                    self.put(&digits[..whole]);
                    self.put(b".");
                    self.put(&digits[whole..]);
                }
                _ => {
                    self.put(b"0.");
                    self.put_zeros((-order - 1) as usize);
                    self.put(digits);
                }
            }
        } else {
            self.put(&digits[..1]);
            if count > 1 {
                self.put(b".");
                self.put(&digits[1..]);
            }
            self.put(if order < 0 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(order.unsigned_abs()).as_bytes());
        }
    }
}

/// The significant digits of a positive decimal number as ryu writes it, how
/// many there are, and the power of ten of the last one.
fn decimal(text: &[u8]) -> ([u8; 20], usize, i32) {
    let (mut digits, mut count, mut exponent) = ([0; 20], 0, 0);
    let split = text.iter().position(|&byte| byte == b'e');
    let (mantissa, power) = text.split_at(split.unwrap_or(text.len()));
    let mut fraction = false;
    for &byte in mantissa {
        if byte == b'.' {
            fraction = true;
            continue;
        }
        exponent -= i32::from(fraction);
        if (count > 0 || byte != b'0') && count < digits.len() {
            digits[count] = byte;
            count += 1;
        }
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
        exponent += 1;
    }
    let power = power
        .get(1..)
        .and_then(|text| std::str::from_utf8(text).ok());
    exponent += power.and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    (digits, count, exponent)
}

/// The integer that a score is, when it is one of up to 62 bits.
fn as_integer(score: f64) -> Option<i64> {
    const MOST: f64 = (i64::MAX / 2) as f64;
    if !(-MOST..=MOST).contains(&score) {
        return None;
    }
    let number = score as i64;
    (number as f64 == score).then_some(number)
}

/// The entry as which a listpack holds a score.
pub(super) fn score_entry(score: f64, buffer: &mut ScoreBuffer) -> Entry<'_> {
    match as_integer(score) {
        Some(number) => Entry::Int(number),
        None => Entry::Str(buffer.format(score)),
    }
}

/// The score that an entry holds; `None` when it holds none, or NaN.
pub(super) fn parse_score(entry: Entry<'_>) -> Option<f64> {
    match entry {
        Entry::Int(number) => Some(number as f64),
        Entry::Str(bytes) => {
            let score: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
            (!score.is_nan()).then_some(score)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_written_as_redis_writes_them() {
        for (score, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (3.25, "3.25"),
            (0.000_123, "0.000123"),
            (1.5e-7, "1.5e-7"),
            (1e25, "1e+25"),
            (-1.234e300, "-1.234e+300"),
            (1e19, "1e+19"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(
                ScoreBuffer::new().format(score),
                text.as_bytes(),
                "{score:e}"
            );
        }
    }

    #[test]
    fn any_score_reads_back_as_itself() {
        let mut rng = fastrand::Rng::with_seed(5);
        for turn in 0..50_000 {
            let score = match turn % 3 {
                0 => f64::from_bits(rng.u64(..)),
                1 => rng.f64() * 1000.0,
                _ => rng.i64(..) as f64,
            };
            if score.is_nan() {
                continue;
            }
            let mut buffer = ScoreBuffer::new();
            assert_eq!(parse_score(score_entry(score, &mut buffer)), Some(score));
            let text = std::str::from_utf8(buffer.format(score)).expect("it is ASCII");
            assert_eq!(text.parse(), Ok(score));
        }
    }
}
