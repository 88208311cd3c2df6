//! How long runs took, for INFO's percentiles and LATENCY HISTOGRAM.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::add;

/// How many buckets a power of two is divided into: what is told of a
/// percentile is at most a sixteenth too high.
const SHARES: usize = 16;
/// The first power of two with buckets of its own, nanoseconds; what is below
/// has as many, all of one width.
const FIRST_POWER: u32 = 10;
/// The last power; what takes longer (a quarter of an hour) counts with it.
const LAST_POWER: u32 = 39;
const BUCKETS: usize = (LAST_POWER - FIRST_POWER + 2) as usize * SHARES;

/// Runs by how long they took, made when there is a first one.
#[derive(Default)]
pub struct Histogram(OnceLock<Box<[AtomicU64; BUCKETS]>>);

impl Histogram {
    /// Counts a run.
    #[inline]
    pub fn record(&self, nanos: u64) {
        add(self.counter(nanos), 1);
    }

    /// What counts the runs that took about as long.
    #[inline]
    pub fn counter(&self, nanos: u64) -> &AtomicU64 {
        &self.0.get_or_init(empty_buckets)[bucket_of(nanos)]
    }

    /// An upper bound in microseconds for this share of the runs.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        Counts::default().and(self).percentile_us(percent)
    }

    /// Takes these counts for its own.
    pub fn store(&self, counts: &Counts) {
        if !counts.0.is_empty() {
            let buckets = self.0.get_or_init(empty_buckets).iter();
            for (bucket, count) in buckets.zip(&counts.0) {
                bucket.store(*count, Ordering::Relaxed);
            }
        }
    }

    fn change(&self, counts: &mut Counts, change: impl Fn(u64, u64) -> u64) {
        if let Some(buckets) = self.0.get() {
            counts.0.resize(BUCKETS, 0);
            for (count, bucket) in counts.0.iter_mut().zip(buckets.iter()) {
                *count = change(*count, bucket.load(Ordering::Relaxed));
            }
        }
    }
}

/// What histograms count together, at one moment.
#[derive(Default)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// With those of another one.
    pub fn and(mut self, other: &Histogram) -> Counts {
        other.change(&mut self, u64::wrapping_add);
        self
    }

    /// Without these.
    pub fn less(mut self, before: &Histogram) -> Counts {
        before.change(&mut self, u64::saturating_sub);
        self
    }

    /// Upper bounds in microseconds of the powers of two in use, each with the
    /// runs up to it.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut sum = 0;
        let mut powers = Vec::new();
        for (power, counts) in (FIRST_POWER..).zip(self.0.chunks(SHARES)) {
            let count: u64 = counts.iter().sum();
            if count != 0 {
                sum += count;
                // As it is written by who has 128 buckets for a power.
                let bound = (1u64 << power) + (1 << (power - 7)) - 1;
                powers.push((bound / 1000, sum));
            }
        }
        powers
    }

    /// An upper bound in microseconds for this share of the runs.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let wanted = (all as f64 * percent / 100.0).ceil().max(1.0);
        let mut sum = 0;
        let found = self.0.iter().position(|count| {
            sum += count;
            sum as f64 >= wanted
        });
        found.map_or(0.0, |bucket| last_nanos_of(bucket) as f64 / 1000.0)
    }
}

#[cold]
fn empty_buckets() -> Box<[AtomicU64; BUCKETS]> {
    Box::new([const { AtomicU64::new(0) }; BUCKETS])
}

#[inline]
fn bucket_of(nanos: u64) -> usize {
    let power = (nanos | 1).ilog2();
    if power < FIRST_POWER {
        return (nanos as usize * SHARES) >> FIRST_POWER;
    }
    if power > LAST_POWER {
        return BUCKETS - 1;
    }
    let share = (nanos >> (power - SHARES.ilog2())) as usize - SHARES;
    (power - FIRST_POWER + 1) as usize * SHARES + share
}

/// The longest time, in nanoseconds, that a bucket counts.
fn last_nanos_of(bucket: usize) -> u64 {
    let (row, share) = ((bucket / SHARES) as u32, (bucket % SHARES) as u64);
    let (first, power) = match row.checked_sub(1) {
        None => (share, FIRST_POWER),
        Some(row) => (SHARES as u64 + share, FIRST_POWER + row),
    };
    ((first + 1) << (power - SHARES.ilog2())) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_counted_in_a_bucket_that_is_hardly_wider() {
        let mut last = None;
        for bucket in 0..BUCKETS {
            let bound = last_nanos_of(bucket);
            assert_eq!(bucket_of(bound), bucket);
            let first = last.map_or(0, |last| last + 1);
            assert_eq!(bucket_of(first), bucket);
            assert!(bound - first <= first.max(1024) / SHARES as u64);
            last = Some(bound);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_a_little_above_what_was_counted() {
        let runs = Histogram::default();
        assert!(
            runs.percentile_us(50.0) == 0.0 && Counts::default().and(&runs).cumulative().is_empty()
        );
        for micros in 1..=1000 {
            runs.record(micros * 1000);
        }
        for percent in [1.0, 50.0, 99.0, 99.9, 100.0] {
            let exact = 10.0 * percent;
            let told = runs.percentile_us(percent);
            assert!(exact <= told && told <= exact * 17.0 / 16.0, "{told}");
        }
        let powers = [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056].into_iter();
        let told = Counts::default().and(&runs).cumulative();
        assert!(told.iter().map(|(bound, _)| *bound).eq(powers));
        assert_eq!(told.last().map(|(_, sum)| *sum), Some(1000));
    }
}
