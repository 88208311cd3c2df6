//! Sorted sets in both encodings against a sorted `Vec`.

use super::*;
use crate::keyspace::listpack::validate;

type Model = Vec<(f64, Vec<u8>)>;

fn check(set: &ZSet, model: &Model) {
    assert_eq!(set.len(), model.len());
    let forward = set.iter().map(|(m, s)| (s, m.to_vec()));
    assert!(forward.eq(model.iter().cloned()));
    let reverse = set.iter().rev().map(|(m, s)| (s, m.to_vec()));
    assert!(reverse.eq(model.iter().rev().cloned()));
    if let Some(bytes) = set.packed_bytes() {
        assert_eq!(validate(bytes), Some(2 * model.len()));
        assert!(ZSet::from_listpack_bytes(bytes).is_some());
    }
}

fn sort(model: &mut Model) {
    model.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
}

fn score(rng: &mut fastrand::Rng) -> f64 {
    match rng.u8(0..12) {
        0 => rng.f64() * 100.0,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => 1e300,
        _ => f64::from(rng.i8(-30..30)),
    }
}

fn member(rng: &mut fastrand::Rng, of: u32) -> Vec<u8> {
    match rng.u8(0..3) {
        0 => rng.u32(0..of).to_string().into_bytes(),
        _ => format!("member:{}", rng.u32(0..of)).into_bytes(),
    }
}

fn ranges(rng: &mut fastrand::Rng, set: &ZSet, model: &Model) {
    let range = ScoreRange {
        min: score(rng),
        min_exclusive: rng.bool(),
        max: score(rng),
        max_exclusive: rng.bool(),
    };
    let above = |s: f64| {
        if range.min_exclusive {
            s > range.min
        } else {
            s >= range.min
        }
    };
    let below = |s: f64| {
        if range.max_exclusive {
            s < range.max
        } else {
            s <= range.max
        }
    };
    let expected: Vec<_> = model
        .iter()
        .filter(|(s, _)| above(*s) && below(*s))
        .cloned()
        .collect();
    let ranks = set.ranks_by_score(&range);
    assert_eq!(ranks.len(), expected.len());
    let found = set.range(ranks.clone()).map(|(m, s)| (s, m.to_vec()));
    assert!(found.eq(expected.iter().cloned()));
    let found = set.range(ranks).rev().map(|(m, s)| (s, m.to_vec()));
    assert!(found.eq(expected.into_iter().rev()));
}

#[test]
fn any_sequence_of_changes_leaves_what_a_sorted_vec_would_hold() {
    let mut rng = fastrand::Rng::with_seed(6);
    for (of, turns) in [(40, 1500), (90, 1500), (3000, 6000), (3000, 6000)] {
        let (mut set, mut model) = (ZSet::new(), Model::new());
        for turn in 0..turns {
            let member = member(&mut rng, of);
            let at = model.iter().position(|(_, m)| *m == member);
            assert_eq!(set.score(&member), at.map(|at| model[at].0));
            let rank = set.rank(&member, true).map(|(rank, _)| rank);
            assert_eq!(rank, at.map(|at| model.len() - 1 - at));
            let removing = turn % 2000 > 1300;
            if rng.u8(0..10) < if removing { 3 } else { 8 } {
                let score = score(&mut rng);
                let expected = match at {
                    Some(at) if model[at].0 == score => Change::Unchanged,
                    Some(at) => {
                        model[at].0 = score;
                        Change::Updated
                    }
                    None => {
                        model.push((score, member.clone()));
                        Change::Added
                    }
                };
                sort(&mut model);
                assert_eq!(set.add(&member, score), expected);
            } else if rng.u8(0..8) == 0 && !model.is_empty() {
                let start = rng.usize(0..model.len());
                let end = (start + rng.usize(0..150)).min(model.len());
                let mut removed = Vec::new();
                set.remove_ranks(start..end, |m, s| removed.push((s, m.to_vec())));
                assert_eq!(removed, model.drain(start..end).collect::<Vec<_>>());
            } else {
                let expected = at.map(|at| model.remove(at).0);
                assert_eq!(set.remove(&member), expected);
            }
            ranges(&mut rng, &set, &model);
            if turn % 20 == 0 {
                check(&set, &model);
            }
        }
        let highest = model.pop();
        assert_eq!(set.pop(true, |m, s| (s, m.to_vec())), highest);
        check(&set, &model);
    }
}

#[test]
fn members_of_equal_score_are_found_between_bounds() {
    for count in [20u32, 2000] {
        let mut set = ZSet::new();
        let mut names: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        for name in &names {
            set.add(name.as_bytes(), 0.0);
        }
        names.sort();
        let between = |min, max| {
            let ranks = set.ranks_by_lex(min, max);
            set.range(ranks)
                .map(|(m, _)| m.to_vec())
                .collect::<Vec<_>>()
        };
        let expected = |f: &dyn Fn(&str) -> bool| {
            let chosen = names.iter().filter(|name| f(name));
            chosen
                .map(|name| name.clone().into_bytes())
                .collect::<Vec<_>>()
        };
        use LexBound::*;
        assert_eq!(between(Lowest, Highest), expected(&|_| true));
        assert_eq!(between(Highest, Lowest), expected(&|_| false));
        assert_eq!(
            between(Inclusive(b"12"), Exclusive(b"3")),
            expected(&|n| ("12".."3").contains(&n))
        );
        assert_eq!(
            between(Exclusive(b"12"), Inclusive(b"3")),
            expected(&|n| n > "12" && n <= "3")
        );
        assert!(between(Inclusive(b"3"), Inclusive(b"12")).is_empty());
    }
}

#[test]
fn a_set_past_its_limits_is_a_skiplist_and_can_be_packed_again() {
    let mut set = ZSet::new();
    for n in 0..128 {
        set.add(format!("{n}").as_bytes(), f64::from(n));
    }
    assert_eq!(set.encoding(), "listpack");
    set.add(b"128", 128.0);
    assert_eq!(set.encoding(), "skiplist");
    set.pack();
    assert_eq!(set.encoding(), "skiplist");
    set.remove(b"5");
    set.pack();
    assert_eq!((set.encoding(), set.len()), ("listpack", 128));
    assert_eq!(set.rank(b"127", false), Some((126, 127.0)));

    let mut set = ZSet::new();
    set.add(&[b'l'; 65], 1.0);
    assert_eq!(set.encoding(), "skiplist");
    let (mut seen, mut cursor) = (0, 0);
    loop {
        cursor = set.scan(cursor, |_, _| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn ascending_and_descending_insertion_keep_order_and_density() {
    for descending in [false, true] {
        let mut set = ZSet::new();
        for n in 0..20_000u32 {
            let n = if descending { 20_000 - n } else { n };
            set.add(format!("{n}").as_bytes(), f64::from(n));
        }
        assert!(set.iter().map(|(_, s)| s).is_sorted());
        assert!(set.memory_bytes() < 20_000 * 110);
        assert_eq!(set.remove_ranks(100..19_900, |_, _| ()), 19_800);
        assert_eq!(set.iter().count(), 200);
    }
}
