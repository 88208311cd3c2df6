//! Scenarios of the tree on a real file.

use std::fs::File;
use std::ops::ControlFlow;

use heed::RwTxn;
use tempfile::TempDir;

use super::row::RowKey;
use super::*;

fn new_tree() -> (TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(&dir);
    (dir, tree)
}

fn open(dir: &TempDir) -> Tree {
    Tree::open(dir.path(), TreeOptions::default()).unwrap()
}

fn write(tree: &Tree, fill: impl FnOnce(&mut Batch<'_>)) {
    let mut batch = tree.begin().unwrap();
    fill(&mut batch);
    batch.commit(&Meta::default()).unwrap();
}

fn read(tree: &Tree, db: u32, slot: u16, key: &[u8]) -> Option<(Option<i64>, Vec<u8>)> {
    let mut payload = Vec::new();
    let head = tree.snapshot().unwrap().get(db, slot, key, &mut payload);
    head.unwrap().map(|head| (head.expire_at_ms, payload))
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..len).map(next).collect()
}

fn slot_keys(snapshot: &Snapshot, cursor: &mut ScanCursor, limit: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut visit = |row: ScanRow<'_>| {
        keys.push(row.key.to_vec());
        ControlFlow::Continue(())
    };
    snapshot.scan_slot(0, 7, cursor, limit, &mut visit).unwrap();
    keys
}

fn tables(tree: &Tree) -> Tables {
    tree.environment.store().unwrap().tables
}

/// Changes a row behind the tree's back.
fn tamper(tree: &Tree, table: Table, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let store = tree.environment.store().unwrap();
    let mut txn: RwTxn<'_> = store.env.write_txn().unwrap();
    let mut value = table.get(&txn, key).unwrap().unwrap().to_vec();
    change(&mut value);
    table.put(&mut txn, key, &value).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let (dir, tree) = new_tree();
    write(&tree, |batch| {
        assert!(batch.put(0, 7, b"a", None, b"\x00one").unwrap());
        assert!(batch.put(3, 7, b"", Some(-5), b"").unwrap());
        assert!(batch.put(0, 16383, b"gone", None, b"x").unwrap());
        assert!(!batch.put(0, 7, b"a", Some(99), b"\x00two").unwrap());
        assert!(batch.delete(0, 16383, b"gone").unwrap());
        assert!(!batch.delete(0, 16383, b"gone").unwrap());
    });
    drop(tree);
    let tree = open(&dir);
    assert_eq!(read(&tree, 0, 7, b"a"), Some((Some(99), b"\x00two".into())));
    assert_eq!(read(&tree, 3, 7, b""), Some((Some(-5), vec![])));
    assert_eq!(read(&tree, 0, 16383, b"gone"), None);
    assert_eq!(read(&tree, 1, 7, b"a"), None);
    assert_eq!(tree.meta().unwrap().key_counts, [(0, 1), (3, 1)]);
}

#[test]
fn keys_and_values_of_every_size_come_back() {
    let (_dir, tree) = new_tree();
    let key_sizes = [1usize, 472, 473, 479, 480, 481, 511, 2000, 5000, 70_000];
    let value_sizes = [0usize, 1, 1500, 1999, 2000, 2001, 2030, 4000, 4001, 100_000];
    write(&tree, |batch| {
        for key in key_sizes {
            for value in value_sizes {
                let name = [&bytes(key, 1), &value.to_be_bytes()[..]].concat();
                let payload = bytes(value, 2);
                batch.put(0, 7, &name, Some(1), &payload).unwrap();
            }
        }
    });
    for key in key_sizes {
        for value in value_sizes {
            let name = [&bytes(key, 1), &value.to_be_bytes()[..]].concat();
            let found = read(&tree, 0, 7, &name);
            assert!(found == Some((Some(1), bytes(value, 2))), "{key} {value}");
        }
    }
    let stats = tree.stats().unwrap();
    assert_eq!(stats.short_rows, 20, "of 9 and of 480 bytes");
    let store = tree.environment.store().unwrap();
    let txn = store.env.read_txn().unwrap();
    for table in [store.tables.chunks, store.tables.keys] {
        assert_eq!(table.stat(&txn).unwrap().overflow_pages, 0);
    }
}

#[test]
fn no_chunk_outlives_its_value() {
    let (_dir, tree) = new_tree();
    let big = bytes(50_000, 3);
    let long_key = bytes(600, 4);
    write(&tree, |batch| {
        batch.put(0, 7, b"overwritten", None, &big).unwrap();
        batch.put(0, 7, b"deleted", None, &big).unwrap();
        batch.put(0, 7, &long_key, None, &big).unwrap();
        batch.put(0, 8, b"cleared slot", None, &big).unwrap();
        batch.put(1, 8, b"cleared db", None, &big).unwrap();
        batch.put(2, 8, b"stays", None, b"small").unwrap();
    });
    assert_eq!(tree.stats().unwrap().chunks, 4 * 25 + 26);
    write(&tree, |batch| {
        batch.put(0, 7, b"overwritten", None, &big).unwrap();
        batch.put(0, 7, b"overwritten", None, b"small").unwrap();
        batch.delete(0, 7, b"deleted").unwrap();
        batch.delete(0, 7, &long_key).unwrap();
        assert_eq!(batch.clear_slot(0, 8).unwrap(), 1);
        assert_eq!(batch.clear_db(1).unwrap(), 1);
    });
    assert_eq!(tree.stats().unwrap().chunks, 0);
    assert_eq!(tree.meta().unwrap().key_counts, [(0, 1), (2, 1)]);
    write(&tree, |batch| batch.clear_all().unwrap());
    assert_eq!(tree.stats().unwrap().short_rows, 0);
    assert_eq!(tree.meta().unwrap().key_counts, []);
}

#[test]
fn a_scan_resumes_where_it_stopped_and_sees_only_its_slot() {
    let (_dir, tree) = new_tree();
    let long: Vec<Vec<u8>> = (0..5).map(|seed| bytes(700, seed)).collect();
    write(&tree, |batch| {
        for i in 0..20u8 {
            batch.put(0, 7, &[b'k', i], None, &bytes(3000, 1)).unwrap();
            batch.put(0, 8, &[b'k', i], None, b"other slot").unwrap();
            batch.put(1, 7, &[b'k', i], None, b"other db").unwrap();
        }
        for key in &long {
            batch.put(0, 7, key, None, &bytes(3000, 1)).unwrap();
            batch.put(0, 8, key, None, b"other slot").unwrap();
        }
    });
    let snapshot = tree.snapshot().unwrap();
    for limit in [1, 3, 20, 24, 25, 1000] {
        let mut cursor = ScanCursor::start();
        let mut keys = Vec::new();
        while !cursor.is_done() {
            keys.extend(slot_keys(&snapshot, &mut cursor, limit));
        }
        assert_eq!(keys.len(), 25, "limit {limit}");
        assert!(keys[..20].is_sorted());
        assert!(long.iter().all(|key| keys[20..].contains(key)));
    }
    let mut cursor = ScanCursor::after(0, 7, b"k\x05").unwrap();
    assert_eq!(slot_keys(&snapshot, &mut cursor, 1), [b"k\x06"]);
    assert!(!snapshot.slot_is_empty(0, 7).unwrap());
    assert!(snapshot.slot_is_empty(1, 8).unwrap());
    assert_eq!(snapshot.key_count(0).unwrap(), 50);
    assert_eq!(snapshot.key_count(9).unwrap(), 0);
}

#[test]
fn a_scan_breaks_off_behind_the_row_it_showed() {
    let (_dir, tree) = new_tree();
    write(&tree, |batch| {
        for key in [b"a", b"b", b"c"] {
            batch.put(0, 7, key, None, b"").unwrap();
        }
    });
    let snapshot = tree.snapshot().unwrap();
    let mut cursor = ScanCursor::start();
    let mut visit = |row: ScanRow<'_>| match row.key {
        b"b" => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let scan = snapshot.scan_slot(0, 7, &mut cursor, 10, &mut visit);
    scan.unwrap();
    assert_eq!(slot_keys(&snapshot, &mut cursor, 10), [b"c"]);
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let (_dir, tree) = new_tree();
    write(&tree, |batch| {
        batch.put(0, 7, b"a", Some(5), b"payload").unwrap();
        batch.put(0, 7, b"b", None, &bytes(5000, 1)).unwrap();
        batch.put(0, 7, b"c", None, b"good").unwrap();
    });
    let key = RowKey::new(0, 7, b"a").unwrap();
    for at in 0..13 + b"payload".len() {
        tamper(&tree, tables(&tree).keys, key.as_bytes(), |row| {
            row[at] ^= 4
        });
        let error = tree.snapshot().unwrap().get(0, 7, b"a", &mut Vec::new());
        let error = error.unwrap_err();
        assert!(
            matches!(&error, TreeError::Corrupt { db: 0, slot: 7, key, .. } if key == b"a"),
            "{error}"
        );
        tamper(&tree, tables(&tree).keys, key.as_bytes(), |row| {
            row[at] ^= 4
        });
    }
    let chunk = row::chunk_key(0, 1);
    tamper(&tree, tables(&tree).chunks, &chunk, |row| row[9] ^= 1);
    let snapshot = tree.snapshot().unwrap();
    let error = snapshot.get(0, 7, b"b", &mut Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("key b: checksum of a chunk"),
        "{error}"
    );
    let mut cursor = ScanCursor::start();
    let mut visit = |_: ScanRow<'_>| ControlFlow::Continue(());
    let scan = snapshot.scan_slot(0, 7, &mut cursor, 10, &mut visit);
    assert!(matches!(scan, Err(TreeError::Corrupt { .. })));
    assert_eq!(
        slot_keys(&snapshot, &mut cursor, 10),
        [b"c"],
        "the salvage goes on"
    );
}

#[test]
fn an_overwrite_heals_a_corrupt_row() {
    let (_dir, tree) = new_tree();
    write(&tree, |batch| {
        batch.put(0, 7, b"a", None, &bytes(5000, 1)).unwrap();
    });
    let key = RowKey::new(0, 7, b"a").unwrap();
    tamper(&tree, tables(&tree).keys, key.as_bytes(), |row| row[8] ^= 4);
    write(&tree, |batch| {
        batch.put(0, 7, b"a", None, b"new").unwrap();
    });
    assert_eq!(read(&tree, 0, 7, b"a"), Some((None, b"new".into())));
}

#[test]
fn metadata_and_rows_commit_together_or_not_at_all() {
    let (dir, tree) = new_tree();
    let meta = Meta {
        offset: 77,
        term: 3,
        selected_db: 2,
        replication_id: "a".repeat(40),
        replication_id2: "b".repeat(40),
        second_offset: 70,
        key_counts: vec![(0, 1)],
        extra: vec![("functions".into(), bytes(10_000, 1))],
        format_version: FORMAT_VERSION,
    };
    let mut batch = tree.begin().unwrap();
    batch.put(0, 7, b"a", None, b"").unwrap();
    batch.commit(&meta).unwrap();
    let before = tree.snapshot().unwrap();
    let mut batch = tree.begin().unwrap();
    batch.put(0, 7, b"b", None, b"").unwrap();
    drop(batch);
    assert_eq!(tree.commit_seq(), before.commit_seq());
    assert_eq!(tree.meta().unwrap(), meta);
    assert_eq!(read(&tree, 0, 7, b"b"), None);

    write(&tree, |batch| {
        batch.delete(0, 7, b"a").unwrap();
    });
    assert!(tree.commit_seq() > before.commit_seq());
    assert_eq!(tree.snapshot().unwrap().commit_seq(), tree.commit_seq());
    assert_eq!(before.meta().unwrap(), meta);
    assert!(before.get(0, 7, b"a", &mut vec![]).unwrap().is_some());
    drop((tree, before));
    assert_eq!(open(&dir).meta().unwrap(), Meta::default());
}

#[test]
fn an_error_inside_a_batch_aborts_it_and_leaves_the_tree_open() {
    let dir = tempfile::tempdir().unwrap();
    let options = TreeOptions {
        map_size: 1 << 20,
        ..TreeOptions::default()
    };
    let tree = Tree::open(dir.path(), options).unwrap();
    let mut batch = tree.begin().unwrap();
    batch.put(0, 7, b"a", None, b"").unwrap();
    let error = batch.put(0, 7, b"b", None, &bytes(2 << 20, 1)).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    let next = batch.put(0, 7, b"c", None, b"");
    assert!(matches!(next, Err(TreeError::BatchAborted)));
    let end = batch.commit(&Meta::default());
    assert!(matches!(end, Err(TreeError::BatchAborted)));
    assert_eq!(tree.failure(), None);
    write(&tree, |batch| {
        batch.put(0, 7, b"d", None, b"").unwrap();
    });
    assert_eq!(read(&tree, 0, 7, b"a"), None);
    assert_eq!(tree.meta().unwrap().key_counts, [(0, 1)]);
}

#[test]
fn a_failed_commit_leaves_the_tree_as_it_was_and_the_next_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = TreeOptions {
        map_size: 1 << 20,
        ..TreeOptions::default()
    };
    let tree = Tree::open(dir.path(), options).unwrap();
    write(&tree, |batch| {
        batch.put(0, 1, b"old", None, b"value").unwrap();
    });
    let mut meta = Meta::default();
    meta.extra.push(("too large".into(), bytes(2 << 20, 1)));
    let mut batch = tree.begin().unwrap();
    batch.put(0, 1, b"new", None, b"value").unwrap();
    let error = batch.commit(&meta).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    assert_eq!(tree.failure(), None);
    assert_eq!(read(&tree, 0, 1, b"new"), None);
    write(&tree, |batch| {
        batch.put(0, 1, b"later", None, b"value").unwrap();
    });
    assert_eq!(tree.meta().unwrap().key_counts, [(0, 2)]);
    assert!(read(&tree, 0, 1, b"old").is_some());
}

#[test]
fn there_is_one_tree_a_directory_and_one_batch_a_tree() {
    let (dir, tree) = new_tree();
    let second = Tree::open(dir.path(), TreeOptions::default());
    assert!(matches!(second, Err(TreeError::InUse(_))));
    let _batch = tree.begin().unwrap();
    assert!(matches!(tree.begin(), Err(TreeError::WriterBusy)));
}

#[test]
fn memory_is_released_when_nobody_uses_the_tree_and_nothing_else_changes() {
    let (dir, tree) = new_tree();
    let big = bytes(100_000, 1);
    write(&tree, |batch| {
        batch.put(0, 7, b"big", Some(9), &big).unwrap();
    });
    let snapshot = tree.snapshot().unwrap();
    assert!(!tree.release_memory().unwrap(), "beside a snapshot");
    drop(snapshot);
    let batch = tree.begin().unwrap();
    assert!(!tree.release_memory().unwrap(), "beside a batch");
    drop(batch);
    let before = (tree.meta().unwrap(), tree.stats().unwrap());
    let commit = tree.commit_seq();
    assert!(tree.release_memory().unwrap());
    let after = (tree.meta().unwrap(), tree.stats().unwrap());
    assert_eq!(after.0, before.0);
    assert_eq!(after.1.chunks, before.1.chunks);
    assert_eq!(tree.snapshot().unwrap().commit_seq(), commit);
    assert_eq!(read(&tree, 0, 7, b"big"), Some((Some(9), big)));
    let second = Tree::open(dir.path(), TreeOptions::default());
    assert!(matches!(second, Err(TreeError::InUse(_))));
    write(&tree, |batch| {
        batch.delete(0, 7, b"big").unwrap();
    });
    assert_eq!(tree.commit_seq(), commit + 1);
    assert!(tree.release_memory().unwrap());
    assert_eq!(tree.stats().unwrap().chunks, 0);
}

#[test]
fn readers_and_a_writer_notice_nothing_of_released_memory() {
    let (_dir, tree) = new_tree();
    write(&tree, |batch| {
        batch.put(0, 7, b"n", None, b"0").unwrap();
    });
    let number = |tree: &Tree| -> u64 {
        let (_, payload) = read(tree, 0, 7, b"n").unwrap();
        String::from_utf8(payload).unwrap().parse().unwrap()
    };
    let is_over = AtomicBool::new(false);
    let released = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let now = number(&tree);
                    assert!(now >= last);
                    last = now;
                    std::thread::yield_now();
                }
            });
        }
        let writer = scope.spawn(|| {
            for n in 1..=300u32 {
                write(&tree, |batch| {
                    let text = n.to_string();
                    batch.put(0, 7, b"n", None, text.as_bytes()).unwrap();
                });
            }
        });
        let mut released = 0;
        while !writer.is_finished() || released == 0 {
            released += u32::from(tree.release_memory().unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
        released
    });
    assert!(released > 0);
    assert_eq!(number(&tree), 300);
}

#[test]
fn a_file_that_ends_before_its_last_page_is_opened_anew_if_it_did_before() {
    let (dir, tree) = new_tree();
    let keys = || (0..2000u32).map(u32::to_be_bytes);
    write(&tree, |batch| {
        for key in keys() {
            batch.put(0, 7, &key, None, &bytes(1_000, 1)).unwrap();
        }
    });
    for _ in 0..3 {
        write(&tree, |batch| {
            for key in keys().skip(1) {
                batch.delete(0, 7, &key).unwrap();
            }
        });
    }
    // The last pages are free by now. LMDB leaves out such as were taken and
    // given back in one transaction.
    let file = File::options()
        .write(true)
        .open(dir.path().join("data.mdb"));
    let file = file.unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    assert!(tree.release_memory().unwrap());
    tree.snapshot().unwrap().check_all().unwrap();
    let value = read(&tree, 0, 7, &[0; 4]);
    assert_eq!(value, Some((None, bytes(1_000, 1))));
    write(&tree, |_| ());
}

#[test]
fn a_file_that_was_cut_is_not_taken_for_the_tree() {
    let (dir, tree) = new_tree();
    write(&tree, |batch| {
        batch.put(0, 7, b"k", None, &bytes(100_000, 1)).unwrap();
    });
    let file = dir.path().join("data.mdb");
    let whole = std::fs::read(&file).unwrap();
    let copy = dir.path().join("copy");
    std::fs::write(&copy, &whole[..whole.len() - 8192]).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    for _ in 0..2 {
        assert!(matches!(tree.release_memory(), Err(TreeError::Exchanged)));
    }
    std::fs::write(&copy, &whole).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    assert_eq!(read(&tree, 0, 7, b"k"), Some((None, bytes(100_000, 1))));
}

#[test]
fn the_directory_is_locked_while_a_snapshot_is_open() {
    let (dir, tree) = new_tree();
    let snapshot = tree.snapshot().unwrap();
    drop(tree);
    let second = Tree::open(dir.path(), TreeOptions::default());
    assert!(matches!(second, Err(TreeError::InUse(_))));
    drop(snapshot);
    open(&dir);
}

#[test]
fn a_tree_that_was_moved_releases_memory_where_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| parent.path().join(name));
    let tree = Tree::open(&old, TreeOptions::default()).unwrap();
    write(&tree, |batch| {
        batch.put(0, 7, b"k", None, b"moved").unwrap();
    });
    std::fs::rename(&old, &new).unwrap();
    assert!(tree.release_memory().unwrap());
    let other = Tree::open(&old, TreeOptions::default()).unwrap();
    write(&tree, |batch| {
        batch.put(0, 7, b"l", None, b"written").unwrap();
    });
    assert_eq!(read(&tree, 0, 7, b"k"), Some((None, b"moved".to_vec())));
    // While LMDB knows the other by the name that this one has now, it stays open.
    std::fs::rename(&new, parent.path().join("aside")).unwrap();
    std::fs::rename(&old, &new).unwrap();
    std::fs::rename(parent.path().join("aside"), &old).unwrap();
    assert!(!tree.release_memory().unwrap());
    drop(other);
    assert!(tree.release_memory().unwrap());
    drop(tree);
    let tree = Tree::open(&old, TreeOptions::default()).unwrap();
    assert_eq!(read(&tree, 0, 7, b"l"), Some((None, b"written".to_vec())));
}

#[test]
fn a_file_that_was_exchanged_is_not_taken_for_the_tree() {
    let (dir, tree) = new_tree();
    let file = dir.path().join("data.mdb");
    write(&tree, |batch| {
        batch.put(0, 7, b"k", None, b"old").unwrap();
    });
    std::fs::copy(&file, dir.path().join("older")).unwrap();
    write(&tree, |batch| {
        batch.put(0, 7, b"k", None, b"new").unwrap();
    });
    std::fs::rename(&file, dir.path().join("right")).unwrap();
    std::fs::rename(dir.path().join("older"), &file).unwrap();
    assert!(matches!(tree.release_memory(), Err(TreeError::Exchanged)));
    assert!(matches!(tree.snapshot(), Err(TreeError::Exchanged)));
    assert!(matches!(tree.begin(), Err(TreeError::Exchanged)));
    std::fs::rename(dir.path().join("right"), &file).unwrap();
    assert_eq!(read(&tree, 0, 7, b"k"), Some((None, b"new".to_vec())));
    write(&tree, |_| ());
}

#[test]
fn an_unknown_format_version_is_refused() {
    let (dir, tree) = new_tree();
    write(&tree, |_| ());
    tamper(&tree, tables(&tree).meta, meta::STATE_KEY, |row| {
        row[4] = 9;
        let crc = crc32c::crc32c(&row[4..]);
        row[..4].copy_from_slice(&crc.to_le_bytes());
    });
    drop(tree);
    let error = Tree::open(dir.path(), TreeOptions::default());
    assert!(matches!(
        error,
        Err(TreeError::FormatVersion { found: 9, known: 2 })
    ));
}

#[test]
fn a_tree_of_the_first_format_opens_and_goes_on_in_this_one() {
    let (dir, tree) = new_tree();
    write(&tree, |batch| {
        batch.put(0, 7, b"a", None, &bytes(50_000, 1)).unwrap();
        batch.put(0, 7, b"b", None, b"small").unwrap();
    });
    let to_version = |tree: &Tree, version: u8| {
        tamper(tree, tables(tree).meta, meta::STATE_KEY, |row| {
            row[4] = version;
            let crc = crc32c::crc32c(&row[4..]);
            row[..4].copy_from_slice(&crc.to_le_bytes());
        });
    };
    to_version(&tree, 1);
    drop(tree);
    let tree = open(&dir);
    assert_eq!(tree.meta().unwrap().format_version, 1);
    assert_eq!(read(&tree, 0, 7, b"a"), Some((None, bytes(50_000, 1))));
    write(&tree, |batch| {
        let value = Pieces {
            layout: 1,
            anew: true,
            head: b"head",
            changed: &[],
        };
        assert!(!batch.put_pieces(0, 7, b"a", None, value).unwrap());
    });
    assert_eq!(tree.meta().unwrap().format_version, FORMAT_VERSION);
    assert_eq!(read(&tree, 0, 7, b"a"), Some((None, b"head".to_vec())));
    assert_eq!(tree.stats().unwrap().chunks, 0);
}

#[test]
fn a_truncated_file_is_refused_by_name_wherever_it_was_cut() {
    let (dir, tree) = new_tree();
    write(&tree, |batch| {
        for n in 0..3000u32 {
            let key = format!("key:{n}");
            let value = bytes(100 + (n as usize % 50) * 100, u64::from(n));
            batch
                .put(0, (n % 100) as u16, key.as_bytes(), None, &value)
                .unwrap();
        }
    });
    drop(tree);
    let file = dir.path().join("data.mdb");
    let whole = std::fs::read(&file).unwrap();
    assert!(whole.len() > 4 << 20);
    for part in [30, 50, 99] {
        std::fs::write(&file, &whole[..whole.len() / 100 * part]).unwrap();
        let Err(error) = Tree::open(dir.path(), TreeOptions::default()) else {
            panic!("{part} % of the file are taken for a whole");
        };
        let text = error.to_string();
        assert!(text.contains("data.mdb is damaged"), "{part} %: {text}");
    }
    std::fs::write(&file, b"not a tree at all").unwrap();
    assert!(Tree::open(dir.path(), TreeOptions::default()).is_err());
    std::fs::write(&file, &whole).unwrap();
    let tree = open(&dir);
    assert!(tree.snapshot().unwrap().check_all().is_ok());
    assert!(read(&tree, 0, 50, b"key:2950").is_some());
}
