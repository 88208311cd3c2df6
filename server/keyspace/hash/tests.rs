//! Hashes in both encodings against a map.

use super::*;
use crate::keyspace::listpack::validate;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn check(hash: &Hash, model: &Model) {
    assert_eq!(hash.len(), model.len());
    let found: Model = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
    assert_eq!(&found, model);
    let (mut scanned, mut cursor) = (Model::new(), 0);
    loop {
        cursor = hash.scan(cursor, |f, v| drop(scanned.insert(f.to_vec(), v.to_vec())));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
    if let Some(bytes) = hash.packed_bytes() {
        assert_eq!(validate(bytes), Some(2 * model.len()));
        let copy = Hash::from_listpack_bytes(bytes).expect("well-formed");
        assert_eq!(copy.packed_bytes(), Some(bytes));
    }
}

#[test]
fn any_sequence_of_changes_leaves_what_a_map_would_hold() {
    let mut rng = fastrand::Rng::with_seed(8);
    for (fields, turns) in [(20, 600), (20, 600), (1500, 5000), (1500, 5000)] {
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for turn in 0..turns {
            let field = match rng.bool() {
                true => rng.u16(0..fields).to_string().into_bytes(),
                false => format!("field:{}", rng.u16(0..fields)).into_bytes(),
            };
            let value = match rng.u16(0..1000) {
                0 if turn > 300 => vec![b'l'; 65],
                1..300 => rng.i64(..).to_string().into_bytes(),
                _ => vec![b'v'; rng.usize(0..65)],
            };
            if rng.u8(0..10) < 7 {
                let new = model.insert(field.clone(), value.clone()).is_none();
                assert_eq!(hash.set(&field, &value), new);
            } else {
                assert_eq!(hash.remove(&field), model.remove(&field).is_some());
            }
            assert_eq!(
                hash.get(&field).map(Entry::to_vec),
                model.get(&field).cloned()
            );
            assert_eq!(hash.value_len(&field), model.get(&field).map(Vec::len));
            assert_eq!(hash.contains(&field), model.contains_key(&field));
            if turn % 25 == 0 {
                check(&hash, &model);
            }
            if let Some((field, value)) = hash.random(|| rng.u64(..)) {
                assert_eq!(model.get(&field.to_vec()), Some(&value.to_vec()));
            }
        }
        check(&hash, &model);
    }
}

#[test]
fn encodings_follow_the_limits() {
    let mut hash = Hash::new();
    (0..512).for_each(|n| assert!(hash.set(n.to_string().as_bytes(), b"v")));
    assert_eq!(hash.encoding(), "listpack");
    hash.set(b"512", b"v");
    assert_eq!(hash.encoding(), "hashtable");

    let mut hash = Hash::new();
    hash.set(b"f", &[b'v'; 64]);
    assert_eq!(hash.encoding(), "listpack");
    hash.set(b"f", &[b'v'; 65]);
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 1));
    assert_eq!(hash.value_len(b"f"), Some(65));
    hash.set(b"f", &[b'w'; 300]);
    assert_eq!(hash.get(b"f"), Some(Entry::Str(&[b'w'; 300])));
}

#[test]
fn expiries_follow_their_fields_through_any_change() {
    let mut rng = fastrand::Rng::with_seed(21);
    let mut hash = Hash::new();
    let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)> = BTreeMap::new();
    for turn in 0..20_000 {
        let field = rng.u16(0..400).to_string().into_bytes();
        let value = vec![b'v'; rng.usize(0..400)];
        let at_ms = Some(rng.i64(0..1000));
        match rng.u8(0..10) {
            0..3 => {
                hash.set(&field, &value);
                model.insert(field.clone(), (value, None));
            }
            3..5 => {
                hash.set_expiring(&field, &value, at_ms);
                model.insert(field.clone(), (value, at_ms));
            }
            5 => {
                let old = model.get(&field).and_then(|(_, at_ms)| *at_ms);
                hash.set_keeping_expiry(&field, &value);
                model.insert(field.clone(), (value, old));
            }
            6 => assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
            7..9 => {
                if let Some((_, old)) = model.get_mut(&field) {
                    *old = at_ms.filter(|_| rng.bool());
                    hash.set_expiry(&field, *old);
                }
            }
            _ if turn % 50 == 0 => {
                let now_ms = rng.i64(0..1000);
                let due = |at_ms: &Option<i64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
                hash.hide_until(Some(now_ms));
                let shown = model.values().filter(|(_, at_ms)| !due(at_ms)).count();
                assert_eq!((hash.len(), hash.iter().count()), (shown, shown));
                hash.hide_until(None);
                let some = hash.take_due(now_ms, 5).len();
                assert_eq!(some, 5.min(model.len() - shown));
                hash.take_due(now_ms, usize::MAX);
                model.retain(|_, (_, at_ms)| !due(at_ms));
            }
            _ => {}
        }
        let known = model.get(&field);
        assert_eq!(
            hash.get(&field).map(Entry::to_vec),
            known.map(|(v, _)| v.clone())
        );
        assert_eq!(hash.expiry(&field), known.map(|(_, at_ms)| *at_ms));
        let next = model.values().filter_map(|(_, at_ms)| *at_ms).min();
        assert_eq!(hash.next_expiry_ms(), next);
        assert_eq!(
            (hash.len(), hash.has_expiries()),
            (model.len(), next.is_some())
        );
    }
}
