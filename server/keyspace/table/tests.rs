//! The table against a model, and SCAN's guarantee through resizes.

use super::*;
use std::collections::{HashMap, HashSet};

struct Word(Box<(Vec<u8>, u64)>);

// SAFETY: a Box of a sized type is a thin pointer.
unsafe impl Element for Word {
    fn key(&self) -> &[u8] {
        &self.0.0
    }
    fn into_raw(self) -> NonNull<u8> {
        NonNull::new(Box::into_raw(self.0).cast()).expect("a box is not null")
    }
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise.
        Word(unsafe { Box::from_raw(raw.as_ptr().cast()) })
    }
}

fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

fn insert(table: &mut Table<Word>, n: u64) {
    table.insert_new(hash_bytes(&key(n)), Word(Box::new((key(n), n))));
}

#[test]
fn agrees_with_a_model_through_growth_and_shrinking() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut table = Table::new();
    let mut model = HashMap::new();
    for step in 0..200_000u64 {
        let n = rng.u64(0..30_000);
        let hash = hash_bytes(&key(n));
        let grow = step % 60_000 < 40_000;
        match (table.find_place(hash, &key(n)), grow || rng.u8(0..4) == 0) {
            (Some(mut place), true) => {
                place.replace(Word(Box::new((key(n), step))));
                model.insert(n, step);
            }
            (Some(place), false) => {
                assert_eq!(place.remove().0.1, model.remove(&n).expect("in the model"));
            }
            (None, true) => {
                table.insert_new(hash, Word(Box::new((key(n), step))));
                model.insert(n, step);
            }
            (None, false) => assert!(!model.contains_key(&n)),
        }
        assert_eq!(table.len(), model.len());
    }
    for (n, value) in &model {
        assert_eq!(
            table
                .find(hash_bytes(&key(*n)), &key(*n))
                .expect("found")
                .0
                .1,
            *value
        );
    }
    assert_eq!(table.iter().count(), model.len());
}

#[test]
fn a_scan_returns_all_that_was_there_throughout() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut table = Table::new();
        let stable = rng.u64(1..5_000);
        (0..stable).for_each(|n| insert(&mut table, n));
        let (mut cursor, mut seen, mut extra) = (0, HashSet::new(), stable);
        loop {
            cursor = table.scan(cursor, |e| {
                seen.insert(e.0.1);
            });
            if cursor == 0 {
                break;
            }
            for _ in 0..rng.u8(0..20) {
                if seed % 2 == 0 || extra == stable {
                    insert(&mut table, extra);
                    extra += 1;
                } else {
                    extra -= 1;
                    table
                        .remove(hash_bytes(&key(extra)), &key(extra))
                        .expect("was inserted");
                }
            }
        }
        assert!((0..stable).all(|n| seen.contains(&n)), "seed {seed}");
    }
}

#[test]
fn random_picks_are_even() {
    let mut table = Table::new();
    (0..100).for_each(|n| insert(&mut table, n));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut counts = [0u32; 100];
    for _ in 0..100_000 {
        counts[table.random(|| rng.u64(..)).expect("not empty").0.1 as usize] += 1;
    }
    assert!(
        counts.iter().all(|&c| (800..1200).contains(&c)),
        "{counts:?}"
    );
}

#[test]
fn cursors_beyond_the_table_end_the_scan() {
    let mut table = Table::new();
    assert_eq!(table.scan(17, |_: &Word| ()), 0);
    insert(&mut table, 1);
    assert_eq!(table.scan(u64::MAX, |_| panic!("nothing there")), 0);
}

#[test]
fn bytes_are_the_same_if_each_is() {
    for len in 0..80 {
        let one: Vec<u8> = (0..len).collect();
        let mut other = one.clone();
        assert!(same_bytes(&one, &other));
        for at in 0..usize::from(len) {
            other[at] ^= 0x80;
            assert!(!same_bytes(&one, &other), "{len} bytes, at {at}");
            other[at] ^= 0x80;
        }
        other.push(0);
        assert!(!same_bytes(&one, &other));
    }
}
