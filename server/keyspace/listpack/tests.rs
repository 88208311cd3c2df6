//! Listpacks against a `Vec`, and bytes that are no listpack.

use super::*;

/// Strings of all encodings, among them the bounds of each.
pub(in crate::keyspace) fn sample(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(0..10) {
        0..4 => vec![b'a' + rng.u8(0..26); rng.usize(0..70)],
        4 => vec![b'x'; [63, 64, 4095, 4096, 130][rng.usize(0..5)]],
        5..8 => rng.i64(-200..200).to_string().into_bytes(),
        8 => {
            let bound = 1i64 << [7, 12, 15, 23, 31, 62][rng.usize(0..6)];
            let number = [bound, bound - 1, -bound, -bound - 1][rng.usize(0..4)];
            number.to_string().into_bytes()
        }
        _ => [
            &b"-0"[..],
            b"01",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"9223372036854775808",
        ][rng.usize(0..5)]
        .to_vec(),
    }
}

fn check(listpack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(validate(listpack.as_bytes()), Some(model.len()));
    assert_eq!(listpack.len(), model.len());
    assert!(listpack.iter().map(Entry::to_vec).eq(model.iter().cloned()));
    assert!(
        listpack
            .iter()
            .rev()
            .map(Entry::to_vec)
            .eq(model.iter().rev().cloned())
    );
}

#[test]
fn any_sequence_of_changes_leaves_what_a_vec_would_hold() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..30 {
        let mut model: Vec<Vec<u8>> = Vec::new();
        let mut listpack = Listpack::new();
        for _ in 0..150 {
            let value = sample(&mut rng);
            let index = rng.usize(0..=model.len());
            let at = listpack.seek(index).unwrap_or(listpack.end());
            match rng.u8(0..6) {
                0 => {
                    listpack.push_back(Entry::of(&value));
                    model.push(value);
                }
                1 => {
                    listpack.push_front(Entry::of(&value));
                    model.insert(0, value);
                }
                2 => {
                    listpack.insert(at, &[Entry::of(&value), Entry::Int(7)]);
                    model.splice(index..index, [value, b"7".to_vec()]);
                }
                3 if index < model.len() => {
                    listpack.replace(at, Entry::of(&value));
                    model[index] = value;
                }
                4 => {
                    let count = rng.usize(0..4).min(model.len() - index);
                    assert_eq!(listpack.delete(at, count), count);
                    model.drain(index..index + count);
                }
                _ => {
                    let tail = listpack.split_off(at);
                    check(&listpack, &model[..index]);
                    check(&tail, &model[index..]);
                    listpack.append(&tail);
                }
            }
            check(&listpack, &model);
            let needle = sample(&mut rng);
            let expected = model.iter().position(|value| *value == needle);
            let found = listpack.find(listpack.first(), &Needle::new(&needle), 0);
            assert_eq!(found, expected.and_then(|index| listpack.seek(index)));
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let mut listpack = Listpack::new();
    for value in [&b"5"[..], b"-1", b"ab", b"70000"] {
        listpack.push_back(Entry::of(value));
    }
    let expected = [
        21, 0, 0, 0, 4, 0, 5, 1, 0xDF, 0xFF, 2, 0x82, b'a', b'b', 3, 0xF2, 0x70, 0x11, 0x01, 4,
        0xFF,
    ];
    assert_eq!(listpack.as_bytes(), expected);
    assert!(Listpack::from_bytes(&expected).is_some());
}

#[test]
fn find_with_a_step_compares_fields_only() {
    let mut listpack = Listpack::new();
    for value in [&b"a"[..], b"b", b"b", b"c"] {
        listpack.push_back(Entry::of(value));
    }
    let found = listpack.find(listpack.first(), &Needle::new(b"b"), 1);
    assert_eq!(found, listpack.seek(2));
    assert_eq!(listpack.find(listpack.first(), &Needle::new(b"c"), 1), None);
}

#[test]
fn more_entries_than_the_header_counts_are_counted_by_reading() {
    let mut listpack = Listpack::new();
    for _ in 0..70_000 {
        listpack.push_back(Entry::Int(1));
    }
    assert_eq!(listpack.len(), 70_000);
    assert_eq!(validate(listpack.as_bytes()), Some(70_000));
    listpack.delete(listpack.first(), 69_000);
    assert_eq!(listpack.counter(), 1_000);
}

#[test]
fn damaged_bytes_are_refused_and_never_panic() {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut listpack = Listpack::new();
    for _ in 0..30 {
        listpack.push_back(Entry::of(&sample(&mut rng)));
    }
    for _ in 0..20_000 {
        let mut bytes = listpack.as_bytes().to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..bytes.len());
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(bytes.len() - rng.usize(0..2));
        if let Some(accepted) = Listpack::from_bytes(&bytes) {
            assert_eq!(accepted.iter().count(), accepted.iter().rev().count());
        }
    }
    for len in 0..listpack.bytes_len() {
        assert_eq!(validate(&listpack.as_bytes()[..len]), None);
    }
}

#[test]
fn canonical_integers_are_told_from_their_lookalikes() {
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-0",
        " 1",
        "1 ",
        "9223372036854775808",
        "99999999999999999999",
    ] {
        assert_eq!(parse_canonical_i64(text.as_bytes()), None, "{text:?}");
    }
    for number in [0, 1, -1, i64::MAX, i64::MIN] {
        let text = number.to_string();
        assert_eq!(parse_canonical_i64(text.as_bytes()), Some(number));
        assert_eq!(Entry::Int(number).byte_len(), text.len());
    }
}
