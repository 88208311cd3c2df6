//! Lists in both encodings against a `Vec`.

use super::*;
use crate::keyspace::listpack::{tests::sample, validate};

fn check(list: &List, model: &[Vec<u8>]) {
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    assert!(list.iter().map(Entry::to_vec).eq(model.iter().cloned()));
    let last = model.len().wrapping_sub(1);
    let reverse = list.iter_from(last, Direction::Reverse).map(Entry::to_vec);
    assert!(reverse.eq(model.iter().rev().cloned()));
    for node in list.nodes() {
        if let NodeBytes::Packed(bytes) = node {
            assert!(validate(bytes).is_some());
        }
    }
    if let List::Quick(quick) = list {
        assert!(quick.nodes.iter().all(|node| match node.bytes() {
            NodeBytes::Packed(bytes) => validate(bytes).is_some_and(|n| n > 0),
            NodeBytes::Plain(_) => true,
        }));
    }
}

fn value(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u16(0..300) {
        0 => vec![b'L'; 9000],
        1..20 => vec![b'm'; rng.usize(500..3000)],
        _ => sample(rng),
    }
}

/// LREM on the model: how many elements went.
fn remove_from(model: &mut Vec<Vec<u8>>, count: i64, value: &[u8]) -> usize {
    let most = if count == 0 {
        usize::MAX
    } else {
        count.unsigned_abs() as usize
    };
    if count < 0 {
        model.reverse();
    }
    let mut removed = 0;
    model.retain(|element| {
        let goes = element == value && removed < most;
        removed += usize::from(goes);
        !goes
    });
    if count < 0 {
        model.reverse();
    }
    removed
}

fn step(rng: &mut fastrand::Rng, list: &mut List, model: &mut Vec<Vec<u8>>, growing: bool) {
    let value = value(rng);
    let index = rng.usize(0..=model.len());
    match rng.u8(0..if growing { 8 } else { 14 }) {
        0 | 1 => {
            list.push(End::Back, &value);
            model.push(value);
        }
        2 | 3 => {
            list.push(End::Front, &value);
            model.insert(0, value);
        }
        4 => {
            let found = model.iter().position(|v| v.len() == value.len());
            let pivot = found.map_or(b"no such element".to_vec(), |i| model[i].clone());
            let at = model.iter().position(|v| *v == pivot);
            assert_eq!(list.insert_after(&pivot, &value), at.is_some());
            if let Some(at) = at {
                model.insert(at + 1, value);
            }
        }
        5 if index < model.len() => {
            let pivot = model[index].clone();
            let at = model.iter().position(|v| *v == pivot).expect("it is there");
            assert!(list.insert_before(&pivot, &value));
            model.insert(at, value);
        }
        6 => {
            let present = index < model.len();
            assert_eq!(list.set(index as i64, &value), present);
            if present {
                model[index] = value;
            }
        }
        7 => {
            let more = [b"x".to_vec(), value];
            list.push_all(End::Back, more.iter().map(Vec::as_slice));
            model.extend(more);
        }
        8 | 9 => assert_eq!(list.pop(End::Back, |e| e.to_vec()), model.pop()),
        10 | 11 => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop(End::Front, |e| e.to_vec()), expected);
        }
        12 => {
            let count = rng.i64(-2..3);
            let removed = remove_from(model, count, &value);
            assert_eq!(list.remove(count, &value), removed);
        }
        _ if rng.u8(0..8) == 0 => {
            let (start, stop) = (rng.i64(-300..10), rng.i64(-10..300));
            let kept = list.index_range(start, stop);
            list.trim(start, stop);
            *model = model[kept].to_vec();
        }
        _ => {}
    }
}

#[test]
fn any_sequence_of_changes_leaves_what_a_vec_would_hold() {
    let mut rng = fastrand::Rng::with_seed(4);
    let mut seen = [0; 2];
    for _ in 0..12 {
        let (mut list, mut model) = (List::new(), Vec::new());
        for turn in 0..900 {
            step(&mut rng, &mut list, &mut model, turn % 450 < 250);
            seen[usize::from(list.encoding() == "quicklist")] += 1;
            if turn % 8 == 0 {
                check(&list, &model);
                let copy = List::from_nodes(list.nodes()).expect("well-formed");
                check(&copy, &model);
            }
            let index = rng.i64(-200..200);
            let expected = list.absolute(index).map(|i| model[i].clone());
            assert_eq!(list.get(index).map(Entry::to_vec), expected);
        }
        while !model.is_empty() {
            assert_eq!(list.pop(End::Front, |e| e.to_vec()), Some(model.remove(0)));
        }
        assert_eq!(list.encoding(), "listpack");
        assert_eq!(list.pop(End::Back, |e| e.to_vec()), None);
    }
    assert!(seen.iter().all(|&count| count > 1000), "{seen:?}");
}

#[test]
fn a_list_past_eight_kib_is_a_quicklist_until_four_are_left() {
    let mut list = List::new();
    let value = [b'v'; 98]; // 101 bytes as an entry
    for _ in 0..80 {
        list.push(End::Back, &value);
    }
    assert_eq!(list.encoding(), "listpack");
    for _ in 0..2 {
        list.push(End::Back, &value);
    }
    assert_eq!(list.encoding(), "quicklist");
    while list.len() > 41 {
        list.pop(End::Front, |_| ());
        assert_eq!(list.encoding(), "quicklist");
    }
    list.pop(End::Back, |_| ());
    assert_eq!(list.encoding(), "listpack");
}

#[test]
fn a_large_element_has_a_node_of_its_own() {
    let mut list = List::new();
    list.push(End::Back, b"a");
    list.push(End::Back, &[b'L'; 10_000]);
    list.push(End::Back, b"b");
    let plain: Vec<bool> = list
        .nodes()
        .map(|n| matches!(n, NodeBytes::Plain(_)))
        .collect();
    assert_eq!(plain, [false, true, false]);
    assert!(list.set(1, b"small"));
    assert_eq!(list.encoding(), "listpack");
}

#[test]
fn indexes_of_a_range_are_cut_to_what_there_is() {
    assert_eq!(index_range(5, 0, -1), 0..5);
    assert_eq!(index_range(5, -100, 100), 0..5);
    assert_eq!(index_range(5, -2, -1), 3..5);
    assert!(index_range(5, 3, 1).is_empty());
    assert!(index_range(5, 5, 9).is_empty());
    assert!(index_range(0, 0, -1).is_empty());
    assert!(index_range(5, i64::MIN, i64::MIN).is_empty());
    assert_eq!(index_range(5, i64::MIN, i64::MAX), 0..5);
}
