//! How often an entry is used, in the 24 bits of its eviction clock: 16 bits of
//! minutes, when the count was last brought up to date, and 8 bits of a count
//! that grows with the logarithm of the uses and shrinks with time. Source: the
//! documentation of `maxmemory-policy`, `lfu-log-factor` and `lfu-decay-time`.

use crate::keyspace::limits::LIMITS;
use std::sync::atomic::Ordering::Relaxed;

/// Bit of a stamp that asks for a use to be counted, not timed.
pub const COUNTED: u32 = 1 << 31;
/// What a new key's count begins at, so that it is not the first to go.
const INITIAL: u32 = 5;
const MINUTES_MASK: u32 = 0xffff;

/// The stamp of a use at this moment.
pub fn stamp(now_ms: i64) -> u32 {
    COUNTED | minutes(now_ms)
}

/// The eviction clock of a key that was used so often, as of now.
pub fn of_count(count: u8, now_ms: i64) -> u32 {
    minutes(now_ms) << 8 | u32::from(count)
}

fn minutes(now_ms: i64) -> u32 {
    (now_ms / 60_000) as u32 & MINUTES_MASK
}

/// The count that an eviction clock stands for by now.
pub fn decayed(access: u32, now_ms: i64) -> u8 {
    decayed_at(access, minutes(now_ms)) as u8
}

fn decayed_at(access: u32, minutes: u32) -> u32 {
    let decay_minutes = LIMITS.lfu_decay_minutes.load(Relaxed) as u32;
    let passed = minutes.wrapping_sub(access >> 8) & MINUTES_MASK;
    let periods = passed.checked_div(decay_minutes).unwrap_or(0);
    (access & 0xff).saturating_sub(periods)
}

/// The eviction clock after a use at `stamp`.
pub fn used(access: u32, stamp: u32) -> u32 {
    let minutes = stamp & MINUTES_MASK;
    if access == 0 {
        return minutes << 8 | INITIAL;
    }
    let mut count = decayed_at(access, minutes);
    let above = f64::from(count.saturating_sub(INITIAL));
    let factor = LIMITS.lfu_log_factor.load(Relaxed) as f64;
    if count < 255 && fastrand::f64() < 1.0 / (above * factor + 1.0) {
        count += 1;
    }
    minutes << 8 | count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_grows_ever_more_slowly_and_shrinks_with_time() {
        let at = 1_700_000_000_000;
        let mut access = used(0, stamp(at));
        assert_eq!(decayed(access, at), 5);
        for _ in 0..100 {
            access = used(access, stamp(at));
        }
        let hundred = decayed(access, at);
        assert!((7..40).contains(&hundred), "{hundred}");
        for _ in 0..100_000 {
            access = used(access, stamp(at));
        }
        let many = decayed(access, at);
        assert!(many > 100 && many > hundred, "{many}");
        assert_eq!(decayed(access, at + 10 * 60_000), many - 10);
        assert_eq!(decayed(access, at + 1000 * 60_000), 0);
    }

    #[test]
    fn a_count_that_was_set_is_read_back() {
        let at = 1_700_000_000_000;
        assert_eq!(decayed(of_count(77, at), at), 77);
    }
}
