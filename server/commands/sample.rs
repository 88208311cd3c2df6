//! Picking elements of a collection at random, for the commands that show some
//! of them (SRANDMEMBER, HRANDFIELD).

use std::collections::HashSet;

use super::args;
use super::error::CommandError;

/// A picked element may come again, so a count has no natural bound; a reply
/// that would pass this many bytes is an error instead.
const MAX_REPLY_BYTES: usize = 1 << 30;

/// A distinct sample is made by picking, and picking again what came before,
/// when the collection has this many times as many elements.
const PICKING_FACTOR: usize = 3;

/// A collection to pick from; a reference as a rule.
pub trait Sampled: Copy {
    /// What is picked.
    type Element: Copy;

    /// How many elements there are.
    fn size(self) -> usize;

    /// All of them.
    fn elements(self) -> impl Iterator<Item = Self::Element>;

    /// One of them, each as likely as any other.
    fn pick(self) -> Option<Self::Element>;

    /// Whether the time of `pick` is the same for any `size`.
    fn picks_quickly(self) -> bool;

    /// What tells an element from others; used if it `picks_quickly`.
    fn address(element: Self::Element) -> usize;
}

/// A count of elements; negative: the same ones may come again.
pub fn count(arg: &[u8]) -> Result<i64, CommandError> {
    match args::integer(arg)? {
        i64::MIN => Err(CommandError::out_of_range(
            "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// How many elements of `len` a count gives.
pub fn sample_len(len: usize, count: i64) -> usize {
    let wanted = count.unsigned_abs() as usize;
    match (len, count < 0) {
        (0, _) => 0,
        (_, true) => wanted,
        (_, false) => wanted.min(len),
    }
}

/// An error once the reply to a sample is too long to go on.
pub fn check_reply_len(bytes: usize) -> Result<(), CommandError> {
    if bytes > MAX_REPLY_BYTES {
        return Err(CommandError::out_of_range("value is out of range"));
    }
    Ok(())
}

/// Visits [`sample_len`] elements. Repeated ones come in random order, distinct
/// ones in any.
pub fn sample<S: Sampled>(
    from: S,
    count: i64,
    mut visit: impl FnMut(S::Element) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (len, wanted) = (from.size(), sample_len(from.size(), count));
    if wanted == 0 {
        return Ok(());
    }
    if wanted == 1 {
        return from.pick().map_or(Ok(()), visit);
    }
    if count < 0 {
        return repeated(from, wanted, visit);
    }
    if wanted == len {
        return from.elements().try_for_each(visit);
    }
    if !from.picks_quickly() || wanted.saturating_mul(PICKING_FACTOR) > len {
        return choose(from.elements(), len, wanted, visit);
    }
    let mut seen = HashSet::with_capacity_and_hasher(wanted, ahash::RandomState::new());
    while seen.len() < wanted {
        let Some(element) = from.pick() else { break };
        if seen.insert(S::address(element)) {
            visit(element)?;
        }
    }
    Ok(())
}

fn repeated<S: Sampled>(
    from: S,
    wanted: usize,
    mut visit: impl FnMut(S::Element) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if from.picks_quickly() {
        return (0..wanted).try_for_each(|_| from.pick().map_or(Ok(()), &mut visit));
    }
    let elements: Vec<S::Element> = from.elements().collect();
    (0..wanted).try_for_each(|_| fastrand::choice(&elements).map_or(Ok(()), |&e| visit(e)))
}

/// Visits `wanted` of `len` elements in one pass; every choice of so many is as
/// likely as any other.
pub fn choose<T>(
    elements: impl Iterator<Item = T>,
    len: usize,
    wanted: usize,
    mut visit: impl FnMut(T) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (mut left, mut wanted) = (len, wanted);
    for element in elements {
        if wanted == 0 {
            break;
        }
        if fastrand::usize(..left.max(1)) < wanted {
            wanted -= 1;
            visit(element)?;
        }
        left = left.saturating_sub(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn every_element_is_chosen_as_often_as_any_other() {
        let (rounds, mut times) = (20_000, [0u32; 10]);
        for _ in 0..rounds {
            let mut chosen = 0;
            choose(0..10, 10, 3, |element: usize| {
                times[element] += 1;
                chosen += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(chosen, 3);
        }
        // 6000 expected, with a standard deviation of 65.
        assert!(times.iter().all(|n| (5500..6500).contains(n)), "{times:?}");
    }
}
