//! Values in pieces against a model, and what must be refused.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::tree::{Meta, Tree, TreeOptions};

type Model = BTreeMap<(u8, u128), Vec<u8>>;

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

fn new_tree() -> (TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::open(dir.path(), TreeOptions::default()).unwrap();
    (dir, tree)
}

fn pieces(parts: &Model) -> Vec<Piece<'_>> {
    let piece = |(&(section, number), bytes)| {
        let bytes: &Vec<u8> = bytes;
        Piece {
            key: PieceKey { section, number },
            bytes,
        }
    };
    parts.iter().map(piece).collect()
}

fn put(batch: &mut Batch<'_>, layout: u128, anew: bool, head: &[u8], parts: &Model) -> bool {
    let changed = pieces(parts);
    let value = Pieces {
        layout,
        anew,
        head,
        changed: &changed,
    };
    batch.put_pieces(0, 7, b"k", Some(5), value).unwrap()
}

fn read(tree: &Tree) -> Result<Vec<u8>, TreeError> {
    let mut payload = Vec::new();
    let snapshot = tree.snapshot().unwrap();
    snapshot.check_all()?;
    snapshot.get(0, 7, b"k", &mut payload)?;
    Ok(payload)
}

fn whole(head: &[u8], model: &Model) -> Vec<u8> {
    let mut bytes = head.to_vec();
    model
        .values()
        .for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

#[test]
fn pieces_that_change_come_back_with_those_that_did_not() {
    let (_dir, tree) = new_tree();
    let mut random = Random(7);
    let mut model = Model::new();
    for round in 0..120u64 {
        let anew = round % 15 == 0;
        let mut changed = Model::new();
        for _ in 0..random.below(8) {
            let key = (random.below(2) as u8, u128::from(random.below(30)) << 64);
            let len = [0, 10, 1999, 2000, 2001, 4000, 9000][random.below(7) as usize];
            let mut bytes = vec![random.below(256) as u8; len];
            if let Some(old) = model.get(&key).filter(|_| random.below(2) == 0) {
                // Only the end of it changes.
                bytes = [&old[..], b"more"].concat();
            }
            changed.insert(key, bytes);
        }
        if anew {
            model.clear();
        }
        model.extend(changed.clone());
        model.retain(|_, bytes| !bytes.is_empty());
        let head = round.to_le_bytes();
        let mut batch = tree.begin().unwrap();
        let new = put(&mut batch, u128::from(round / 15), anew, &head, &changed);
        assert_eq!(new, round == 0);
        if round % 7 == 3 && !anew {
            // As if it had not been.
            put(&mut batch, u128::from(round / 15), false, &head, &model);
        }
        batch.commit(&Meta::default()).unwrap();
        assert!(read(&tree).unwrap() == whole(&head, &model), "{round}");
    }
    let head = tree.snapshot().unwrap();
    let head = head.get(0, 7, b"k", &mut Vec::new()).unwrap().unwrap();
    assert_eq!((head.expire_at_ms, head.layout), (Some(5), Some(7)));
}

#[test]
fn what_has_not_changed_is_not_written() {
    let (_dir, tree) = new_tree();
    let all: Model = (0..500).map(|n| ((0, n), vec![n as u8; 1000])).collect();
    let mut batch = tree.begin().unwrap();
    put(&mut batch, 1, true, b"head", &all);
    assert!(batch.bytes_put() > 500_000);
    batch.commit(&Meta::default()).unwrap();
    let mut batch = tree.begin().unwrap();
    put(&mut batch, 1, false, b"head", &all);
    assert!(batch.bytes_put() < 200, "only the row");
    let one = Model::from([((0, 9), b"new".to_vec())]);
    put(&mut batch, 1, false, b"head", &one);
    assert!(batch.bytes_put() < 400);
}

#[test]
fn no_piece_outlives_its_value() {
    let (_dir, tree) = new_tree();
    let all: Model = (0..50).map(|n| ((0, n << 100), vec![1; 3000])).collect();
    for end in 0..5 {
        let mut batch = tree.begin().unwrap();
        put(&mut batch, 1, true, b"head", &all);
        let other = |batch: &mut Batch<'_>| batch.put(1, 7, b"k", None, b"other").unwrap();
        other(&mut batch);
        match end {
            0 => assert!(!batch.put(0, 7, b"k", None, b"small").unwrap()),
            1 => assert!(batch.delete(0, 7, b"k").unwrap()),
            2 => assert_eq!(batch.clear_db(0).unwrap(), 1),
            3 => assert_eq!(batch.clear_slot(0, 7).unwrap(), 1),
            _ => assert!(!put(&mut batch, 2, true, b"head", &Model::new())),
        }
        batch.commit(&Meta::default()).unwrap();
        assert_eq!(tree.stats().unwrap().chunks, 0, "{end}");
        tree.snapshot().unwrap().check_all().unwrap();
    }
}

#[test]
fn pieces_of_another_layout_are_refused_and_change_nothing() {
    let (_dir, tree) = new_tree();
    let all = Model::from([((0, 1), b"one".to_vec()), ((1, 0), b"two".to_vec())]);
    let refused = |value: Pieces<'_>, key: &[u8]| {
        let mut batch = tree.begin().unwrap();
        let error = batch.put_pieces(0, 7, key, None, value).unwrap_err();
        assert!(matches!(error, TreeError::Pieces { .. }), "{error}");
        assert!(batch.commit(&Meta::default()).is_err());
    };
    let changed = pieces(&all);
    let value = Pieces {
        layout: 1,
        anew: false,
        head: b"head",
        changed: &changed,
    };
    refused(value, b"k");
    let mut batch = tree.begin().unwrap();
    put(&mut batch, 2, true, b"head", &all);
    batch.put(0, 7, b"plain", None, b"small").unwrap();
    batch.commit(&Meta::default()).unwrap();
    refused(value, b"k");
    refused(value, b"plain");
    let anew = Pieces {
        anew: true,
        ..value
    };
    refused(anew, &[b'k'; 600]);
    let twice = [changed[0], changed[0]];
    refused(
        Pieces {
            changed: &twice,
            ..anew
        },
        b"k",
    );
    assert_eq!(read(&tree).unwrap(), b"headonetwo");
}

#[test]
fn a_piece_that_is_gone_or_old_is_noticed() {
    let (_dir, tree) = new_tree();
    let all: Model = (0..9).map(|n| ((0, n), vec![n as u8; 3000])).collect();
    let mut batch = tree.begin().unwrap();
    put(&mut batch, 1, true, b"head", &all);
    batch.commit(&Meta::default()).unwrap();
    let store = tree.environment.store().unwrap();
    let chunks = store.tables.chunks;
    let key = part_key(
        0,
        PieceKey {
            section: 0,
            number: 4,
        },
        1,
    );
    let txn = store.env.read_txn().unwrap();
    let old = chunks.get(&txn, &key).unwrap().unwrap().to_vec();
    drop(txn);
    let tamper = |value: Option<&[u8]>| {
        let mut txn = store.env.write_txn().unwrap();
        match value {
            Some(value) => chunks.put(&mut txn, &key, value).unwrap(),
            None => assert!(chunks.delete(&mut txn, &key).unwrap()),
        }
        txn.commit().unwrap();
    };
    tamper(None);
    assert!(matches!(read(&tree), Err(TreeError::Corrupt { .. })));
    let mut flipped = old.clone();
    flipped[700] ^= 1;
    tamper(Some(&flipped));
    assert!(matches!(read(&tree), Err(TreeError::Corrupt { .. })));
    let mut batch = tree.begin().unwrap();
    let changed = pieces(&all);
    let value = Pieces {
        layout: 1,
        anew: false,
        head: b"head",
        changed: &changed,
    };
    assert!(batch.put_pieces(0, 7, b"k", None, value).is_err());
    drop(batch);
    tamper(Some(&old));
    let mut batch = tree.begin().unwrap();
    let one = Model::from([((0, 4), vec![9; 3000])]);
    put(&mut batch, 1, false, b"head", &one);
    batch.commit(&Meta::default()).unwrap();
    read(&tree).unwrap();
    tamper(Some(&old));
    assert!(
        matches!(read(&tree), Err(TreeError::Corrupt { .. })),
        "an old part"
    );
}
