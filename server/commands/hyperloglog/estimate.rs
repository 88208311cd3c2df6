//! The estimate: from how many registers have each value to how many elements
//! there are.
//!
//! Source: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches", arXiv:1702.01284, algorithm 6.

use super::REGISTERS;

/// How many registers have each value. Values beyond 51 come only from strings
/// that no server wrote.
pub type Histogram = [u32; 64];

/// The largest value but one that an element can bring.
const Q: usize = 50;
/// `0.5 / ln 2`
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The number of different elements.
pub fn estimate(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let count = |value: usize| f64::from(histogram[value]);
    let mut z = m * tau((m - count(Q + 1)) / m);
    for value in (1..=Q).rev() {
        z += count(value);
        z *= 0.5;
    }
    z += m * sigma(count(0) / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
