//! Tests of RDB files: what was written is read back, and nothing else is taken for it.

use std::ops::ControlFlow;

use super::super::crc64::crc64;
use super::super::{Limits, Object, encode, listpack};
use super::*;
use crate::tree::{Meta, Tree, TreeOptions};

/// A record with bytes of its own.
#[derive(Debug, PartialEq)]
enum Seen {
    Aux(Vec<u8>, Vec<u8>),
    Db(u32),
    Sizes(u64, u64),
    Key(u32, Vec<u8>, Option<i64>, Object),
    Function(Vec<u8>),
    Module(String),
    Eof(Checksum),
}

fn read(file: &[u8]) -> Result<Vec<Seen>, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut reader = FileReader::new(file, ReadOptions::default()).map_err(|e| text(&e))?;
    let mut seen = Vec::new();
    loop {
        seen.push(match reader.next_record().map_err(|e| text(&e))? {
            Record::Aux { name, value } => Seen::Aux(name.into(), value.into()),
            Record::SelectDb(db) => Seen::Db(db),
            Record::ResizeDb { keys, expires } => Seen::Sizes(keys, expires),
            Record::SlotInfo { .. } => continue,
            Record::Function(source) => Seen::Function(source.into()),
            Record::ModuleAux { module } => Seen::Module(module),
            Record::Key(key) => {
                let object = key.decode(Limits::default()).map_err(|e| text(&e))?;
                Seen::Key(key.db, key.key.into(), key.expire_at_ms, object)
            }
            Record::Eof(checksum) => {
                seen.push(Seen::Eof(checksum));
                return Ok(seen);
            }
        });
    }
}

/// One value of each type, the later ones with strings that are worth compressing.
fn values() -> Vec<(Vec<u8>, Object)> {
    let long = b"abcabcabcabcabcabcabcabcabcabcabcabc".to_vec();
    let mut string = Vec::new();
    encode::put_string_object(&mut string, &long);
    let mut number = Vec::new();
    encode::put_string_object(&mut number, b"-12345");
    let mut packed = listpack::Writer::new();
    packed.push(b"a");
    packed.push(&long);
    let packed = packed.finish();
    let mut list = Vec::new();
    encode::begin_list(&mut list, 2);
    encode::put_list_node(&mut list, true, &packed);
    encode::put_list_node(&mut list, false, &long);
    let mut set = Vec::new();
    encode::begin_set(&mut set, 2);
    encode::put_member(&mut set, b"7");
    encode::put_member(&mut set, &long);
    let mut hash = Vec::new();
    encode::put_blob(&mut hash, super::super::value_type::HASH_LISTPACK, &packed);
    let mut zset = Vec::new();
    encode::begin_zset2(&mut zset, 2);
    encode::put_scored_member(&mut zset, &long, f64::INFINITY);
    encode::put_scored_member(&mut zset, b"m", -1.5);
    vec![
        (string, Object::String(long.clone())),
        (number, Object::String(b"-12345".to_vec())),
        (
            list,
            Object::List(vec![b"a".to_vec(), long.clone(), long.clone()]),
        ),
        (set, Object::Set(vec![b"7".to_vec(), long.clone()])),
        (
            hash,
            Object::Hash(vec![(b"a".to_vec(), long.clone(), None)]),
        ),
        (
            zset,
            Object::ZSet(vec![(long, f64::INFINITY), (b"m".to_vec(), -1.5)]),
        ),
    ]
}

fn sample(options: WriteOptions) -> (Vec<u8>, Vec<Seen>) {
    let mut writer = FileWriter::new(Vec::new(), options);
    writer.aux("redis-ver", b"7.0.15").unwrap();
    writer.function(b"#!lua name=f").unwrap();
    let mut expected = vec![
        Seen::Aux(b"redis-ver".to_vec(), b"7.0.15".to_vec()),
        Seen::Function(b"#!lua name=f".to_vec()),
    ];
    for db in [0, 9] {
        writer.select_db(db).unwrap();
        writer.resize_db(6, 3).unwrap();
        expected.extend([Seen::Db(db), Seen::Sizes(6, 3)]);
        for (i, (payload, object)) in values().into_iter().enumerate() {
            let key = format!("key {i}").into_bytes();
            let expiry = (i % 2 == 1).then_some(1_700_000_000_123 + i as i64);
            writer.key(&key, expiry, &payload).unwrap();
            expected.push(Seen::Key(db, key, expiry, object));
        }
    }
    let (file, len) = writer.finish().unwrap();
    assert_eq!(file.len() as u64, len);
    expected.push(Seen::Eof(match options.checksum {
        true => Checksum::Matches,
        false => Checksum::Absent,
    }));
    (file, expected)
}

#[test]
fn what_is_written_is_read_back() {
    let mut lengths = Vec::new();
    for (compress, checksum) in [(false, false), (false, true), (true, false), (true, true)] {
        let (file, expected) = sample(WriteOptions { compress, checksum });
        assert_eq!(read(&file).unwrap(), expected);
        lengths.push(file.len());
    }
    assert!(lengths[2] < lengths[0], "compression saves something");
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused() {
    let (file, expected) = sample(WriteOptions::default());
    for cut in 0..file.len() {
        assert!(read(&file[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..file.len() - 8 {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        if let Ok(seen) = read(&changed) {
            // A checksum of 0 says that none was made; no other change may pass.
            assert_eq!(seen, expected, "changed at {at}");
        }
    }
}

#[test]
fn other_formats_and_versions_are_refused_by_name() {
    for (header, text) in [
        (&b"REDIS0012"[..], "RDB version REDIS0012"),
        (b"VALKEY079", "RDB version VALKEY079"),
        (b"VALKEY081", "RDB version VALKEY081"),
        (b"REDIS0000", "RDB version REDIS0000"),
        (b"REDIS00x0", "not an RDB file"),
        (b"*1\r\n$4\r\nPI", "not an RDB file"),
        (b"REDIS", "not an RDB file"),
    ] {
        let error = read(header).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}

/// A file of this version with these records, and a good end.
fn file_of(header: &str, records: &[u8]) -> Vec<u8> {
    let mut file = [header.as_bytes(), records, &[opcode::EOF]].concat();
    let checksum = crc64(0, &file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}

#[test]
fn what_is_not_read_here_is_refused_by_name() {
    let module_id = u64::MAX.to_be_bytes();
    let module = [&[7, 1, b'k', 0x81][..], &module_id].concat();
    for (records, text) in [
        (&[6, 1, b'k'][..], "module"),
        (&module, "key 'k' of module type '_________'"),
        (
            &[22, 1, b'k', 1, 1, b'f', 1, b'v'],
            "hash with field expiry",
        ),
        (&[30, 1, b'k'], "value type 30"),
        (&[opcode::FUNCTION_OF_RC], "release candidates"),
        (&[opcode::SLOT_IMPORT], "slot that is being imported"),
        (&[200], "unknown opcode or type 200"),
    ] {
        let error = read(&file_of("REDIS0011", records)).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn hints_and_data_of_modules_are_passed_over() {
    let mut records = vec![opcode::MODULE_AUX, 0x81];
    records.extend_from_slice(&0u64.to_be_bytes());
    // Before the keys; then a number, a float, a double, a string, and the end.
    records.extend_from_slice(&[2, 1, 1, 5, 3, 0, 0, 0, 0, 4]);
    records.extend_from_slice(&[0; 8]);
    records.extend_from_slice(&[5, 2, b'h', b'i', 0]);
    records.extend_from_slice(&[opcode::SLOT_INFO, 5, 1, 0]);
    records.extend_from_slice(&[opcode::IDLE, 9, opcode::FREQUENCY, 3]);
    records.extend_from_slice(&[opcode::EXPIRY_S, 1, 0, 0, 0, 0, 0xc0, 12, 1, b'v']);
    let seen = read(&file_of("VALKEY080", &records)).unwrap();
    let expected = [
        Seen::Module("AAAAAAAAA".into()),
        Seen::Key(0, b"12".to_vec(), Some(1000), Object::String(b"v".to_vec())),
        Seen::Eof(Checksum::Matches),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_claimed_length_makes_no_room() {
    for claim in [
        // A string of 500 MB, one of 2^60 bytes, a list of 2^60 elements, a compressed string.
        &[0, 1, b'k', 0x80, 0x1d, 0xcd, 0x65, 0, b'x'][..],
        &[0, 1, b'k', 0x81, 0x10, 0, 0, 0, 0, 0, 0, 0, b'x'],
        &[1, 1, b'k', 0x81, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, b'x'],
        &[
            0, 1, b'k', 0xc3, 0x80, 0x1d, 0xcd, 0x65, 0, 0x80, 0x1d, 0xcd, 0x65, 0, 1,
        ],
    ] {
        let file = [b"REDIS0010", claim].concat();
        let mut reader = FileReader::new(&file[..], ReadOptions::default()).unwrap();
        assert!(reader.next_record().is_err());
        assert!(reader.second.capacity() < 1 << 20);
    }
}

#[test]
fn what_follows_a_file_is_given_back() {
    let (mut file, _) = sample(WriteOptions::default());
    file.extend_from_slice(b"behind");
    let mut reader = FileReader::new(&file[..], ReadOptions::default()).unwrap();
    while !matches!(reader.next_record().unwrap(), Record::Eof(_)) {}
    let (rest, read) = reader.into_parts();
    assert_eq!([&read, rest].concat(), b"behind");
}

#[test]
fn a_snapshot_is_written_under_the_numbers_that_clients_know() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::open(dir.path(), TreeOptions::default()).unwrap();
    let large = vec![b'x'; 300_000];
    let mut payload = Vec::new();
    encode::put_string_object(&mut payload, &large);
    let mut batch = tree.begin().unwrap();
    for slot in [0, 7, 16_383] {
        for db in [2, 3, 4] {
            let key = format!("{db}-{slot}");
            batch
                .put(db, slot, key.as_bytes(), Some(5), &payload)
                .unwrap();
        }
    }
    batch.commit(&Meta::default()).unwrap();
    let snapshot = tree.snapshot().unwrap();
    let databases = [(0, 3), (1, 9), (5, 2)].map(|(logical, physical)| Database {
        logical,
        physical,
        expires: 100,
    });
    let mut writer = FileWriter::new(Vec::new(), WriteOptions::default());
    let mut reported = 0;
    let mut progress = |keys| {
        reported += keys;
        ControlFlow::Continue(())
    };
    let written = write_snapshot(&mut writer, &snapshot, &databases, &mut progress).unwrap();
    assert_eq!((written, reported), (6, 6));
    let (file, _) = writer.finish().unwrap();
    let mut expected = Vec::new();
    for (logical, physical) in [(0, 3), (5, 2)] {
        expected.extend([Seen::Db(logical), Seen::Sizes(3, 3)]);
        for slot in [0, 7, 16_383] {
            let key = format!("{physical}-{slot}").into_bytes();
            let object = Object::String(large.clone());
            expected.push(Seen::Key(logical, key, Some(5), object));
        }
    }
    expected.push(Seen::Eof(Checksum::Matches));
    assert_eq!(read(&file).unwrap(), expected);
    let mut cancel = |_| ControlFlow::Break(());
    let mut writer = FileWriter::new(Vec::new(), WriteOptions::default());
    let cancelled = write_snapshot(&mut writer, &snapshot, &databases, &mut cancel);
    assert!(matches!(cancelled, Err(SnapshotError::Cancelled)));
}

#[test]
fn only_a_file_for_valkey_9_holds_fields_that_expire() {
    let mut payload = vec![super::super::value_type::HASH_2, 2];
    for (name, expiry) in [(b'a', 1_700_000_000_000_i64), (b'b', -1)] {
        payload.extend_from_slice(&[1, name, 1, b'v']);
        payload.extend_from_slice(&expiry.to_le_bytes());
    }
    let fields = vec![
        (b"a".to_vec(), b"v".to_vec(), Some(1_700_000_000_000)),
        (b"b".to_vec(), b"v".to_vec(), None),
    ];
    let mut writer = FileWriter::new(Vec::new(), WriteOptions::default());
    let refused = writer.key(b"h", None, &payload).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);

    let mut writer = FileWriter::new(Vec::new(), WriteOptions::default()).for_valkey_9();
    writer.select_db(0).unwrap();
    writer.key(b"h", None, &payload).unwrap();
    let (file, _) = writer.finish().unwrap();
    assert!(file.starts_with(b"VALKEY080"));
    let expected = vec![
        Seen::Db(0),
        Seen::Key(0, b"h".to_vec(), None, Object::Hash(fields)),
        Seen::Eof(Checksum::Matches),
    ];
    assert_eq!(read(&file).unwrap(), expected);
}
