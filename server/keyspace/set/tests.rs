//! Sets in all encodings against a `BTreeSet`.

use super::*;
use crate::keyspace::listpack::validate;
use std::collections::BTreeSet;

fn check(set: &Set, model: &BTreeSet<Vec<u8>>) {
    assert_eq!(set.len(), model.len());
    let found: BTreeSet<Vec<u8>> = set.iter().map(Entry::to_vec).collect();
    assert_eq!(&found, model);
    let (mut scanned, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = set.scan(cursor, |member| {
            scanned.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
    let copy = match set {
        Set::Int(integers) => Set::from_intset_bytes(integers.as_bytes()),
        Set::Packed(listpack) => {
            assert_eq!(validate(listpack.as_bytes()), Some(model.len()));
            Set::from_listpack_bytes(listpack.as_bytes())
        }
        Set::Table(_) => return,
    };
    assert_eq!(copy.map(|copy| copy.len()), Some(model.len()));
}

#[test]
fn any_sequence_of_changes_leaves_what_a_tree_would_hold() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut seen = BTreeSet::new();
    for round in 0..24 {
        let (mut set, mut model) = (Set::new(), BTreeSet::new());
        for turn in 0..1200 {
            let text_from = [0, 30, 100, 5000][round % 4];
            let member = match rng.u16(0..2000) {
                0 if turn > text_from => vec![b'l'; 65],
                1..800 if turn > text_from => format!("m{}", rng.u16(0..300)).into_bytes(),
                _ => rng.i64(-400..400).to_string().into_bytes(),
            };
            if rng.u8(0..10) < 7 {
                assert_eq!(set.add(&member), model.insert(member));
            } else if rng.bool() {
                assert_eq!(set.remove(&member), model.remove(&member));
            } else {
                let popped = set.pop_random(|| rng.u64(..), |member| member.to_vec());
                assert_eq!(popped.is_some(), !model.is_empty());
                assert!(popped.is_none_or(|member| model.remove(&member)));
            }
            seen.insert(set.encoding());
            let probe = rng.i64(-400..400).to_string().into_bytes();
            assert_eq!(set.contains(&probe), model.contains(&probe));
            if turn % 25 == 0 {
                check(&set, &model);
            }
        }
        let removed = set.retain(|member| member.byte_len() % 2 == 0);
        let before = model.len();
        model.retain(|member| member.len() % 2 == 0);
        assert_eq!(removed, before - model.len());
        check(&set, &model);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn encodings_follow_the_limits() {
    let mut set = Set::new();
    (0..512).for_each(|n| assert!(set.add(n.to_string().as_bytes())));
    assert_eq!(set.encoding(), "intset");
    set.add(b"512");
    assert_eq!(set.encoding(), "hashtable");

    let mut set = Set::new();
    (0..127).for_each(|n| assert!(set.add(n.to_string().as_bytes())));
    set.add(b"text");
    assert_eq!((set.encoding(), set.len()), ("listpack", 128));
    set.remove(b"text");
    set.pack_integers();
    assert_eq!((set.encoding(), set.len()), ("intset", 127));
    set.add(b"text");
    set.add(b"more");
    assert_eq!((set.encoding(), set.len()), ("hashtable", 129));

    let mut set = Set::for_members(b"a", 1);
    assert_eq!(set.encoding(), "listpack");
    set.add(&[b'x'; 65]);
    assert_eq!(set.encoding(), "hashtable");
    assert_eq!(Set::for_members(b"a", 129).encoding(), "hashtable");
}
