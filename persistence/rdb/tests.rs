//! Round trips, values that real servers wrote, and hostile input, over all of the codec.
//!
//! `fixtures/*.hex` holds a key and its DUMP a line: written by the server and version that the
//! file is named after, or (`older-types.hex`) made by hand and restored into both of them. What
//! the keys hold was read from those servers.

use std::panic::catch_unwind;

use proptest::prelude::*;

use super::listpack::{self, Item};
use super::primitive::{Reader, put_length, put_raw_string, put_string};
use super::*;

const FIXTURES: [&str; 3] = [
    include_str!("fixtures/redis-7.0.15.hex"),
    include_str!("fixtures/valkey-9.1.2.hex"),
    include_str!("fixtures/older-types.hex"),
];

/// Keys and their dumps.
pub(super) fn fixtures(file: &str) -> Vec<(&str, Vec<u8>)> {
    file.lines()
        .map(|line| {
            let (key, hex) = line.split_once(' ').expect("a key and its dump");
            (key, bytes_of_hex(hex))
        })
        .collect()
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hex digit") as u8)
        .collect();
    let (bytes, []) = digits.as_chunks::<2>() else {
        panic!("half a byte");
    };
    bytes.iter().map(|[high, low]| high << 4 | low).collect()
}

fn strings(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn hash(fields: &[(&str, &str, Option<i64>)]) -> Object {
    let field = |(field, value, expiry): &(&str, &str, Option<i64>)| {
        (
            field.as_bytes().to_vec(),
            value.as_bytes().to_vec(),
            *expiry,
        )
    };
    Object::Hash(fields.iter().map(field).collect())
}

fn zset(members: &[(&str, f64)]) -> Object {
    let member = |(member, score): &(&str, f64)| (member.as_bytes().to_vec(), *score);
    Object::ZSet(members.iter().map(member).collect())
}

/// Without the order that has no meaning.
fn sorted(mut object: Object) -> Object {
    match &mut object {
        Object::String(_) | Object::List(_) | Object::Stream(_) => {}
        Object::Set(members) => members.sort(),
        Object::Hash(fields) => fields.sort(),
        Object::ZSet(members) => members.sort_by(|a, b| a.0.cmp(&b.0)),
    }
    object
}

/// The list of every form that an element of a listpack has.
fn every_form() -> Object {
    let (x, y, z) = ("x".repeat(63), "y".repeat(64), "z".repeat(4095));
    Object::List(strings(&[
        "a",
        "1",
        "-1",
        "127",
        "128",
        "-4096",
        "4095",
        "4096",
        "-32768",
        "32767",
        "8388607",
        "-8388608",
        "8388608",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        &x,
        &y,
        &z,
    ]))
}

fn expected(key: &str) -> Object {
    let text = |text: &str| Object::String(text.into());
    match key {
        "s:text" => text("hello"),
        "s:int8" => text("-5"),
        "s:int16" => text("12345"),
        "s:int32" => text("-123456789"),
        "s:int64" => text("12345678901234"),
        "s:lzf" => text(&"abc".repeat(50)),
        "s:empty" => text(""),
        "s:bin" => Object::String((0..=255).collect()),
        "l:small" | "l:nodes" => every_form(),
        "l:plain" => Object::List(strings(&["a", &"p".repeat(90), "b"])),
        "set:int16" => Object::Set(strings(&["1", "2", "3"])),
        "set:int32" => Object::Set(strings(&["-70000", "1"])),
        "set:int64" => Object::Set(strings(&["1", "1099511627776"])),
        "set:lp" => Object::Set(strings(&["a", "b", "3"])),
        "set:ht" => Object::Set((0..150).map(|i| format!("m{i}").into_bytes()).collect()),
        "h:lp" => hash(&[("f", "v", None), ("n", "1", None)]),
        "h:ht" => hash(&[("big", &"w".repeat(100), None), ("k", "v", None)]),
        "h:ttl" => hash(&[("a", "1", Some(4_102_444_800_000)), ("b", "2", None)]),
        "z:lp" => zset(&[
            ("a", 1.0),
            ("b", 2.5),
            ("c", f64::NEG_INFINITY),
            ("d", f64::INFINITY),
            ("e", -3.0),
        ]),
        "z:sl" => zset(&[
            ("n", 3.25),
            ("o", f64::NEG_INFINITY),
            (&"q".repeat(70), 1.1),
        ]),
        "l:linked" => Object::List(strings(&["a", "12345", ""])),
        "l:ziplist" => Object::List(strings(&[
            "a",
            &"x".repeat(70),
            &"y".repeat(300),
            "0",
            "12",
            "13",
            "-1",
            "1000",
            "100000",
            "100000000",
            "1099511627776",
            "",
        ])),
        "l:quicklist" => Object::List(strings(&["a", "1", "b"])),
        "h:zipmap" => hash(&[("f", "v", None), ("n", "12", None)]),
        "h:ziplist" => hash(&[("f", "v", None), ("7", "-70000", None)]),
        "z:ascii" => zset(&[
            ("a", 2.5),
            ("b", f64::INFINITY),
            ("c", f64::NEG_INFINITY),
            ("d", 1e5),
        ]),
        "z:ziplist" => zset(&[("a", -3.0), ("b", 1.5), ("c", f64::INFINITY)]),
        _ => panic!("nothing is known of {key}"),
    }
}

fn decode(payload: &[u8]) -> Result<Object, RdbError> {
    decode_object(payload, Limits::default())
}

#[test]
fn what_real_servers_wrote_is_read() {
    for (key, dump) in FIXTURES.into_iter().flat_map(fixtures) {
        let (value, version) = dump::unwrap_with_version(&dump).expect(key);
        let object = decode_object_of_version(value, version, Limits::default());
        if key == "x:stream" {
            assert!(matches!(object, Ok(Object::Stream(_))), "{object:?}");
        } else {
            assert_eq!(sorted(object.expect(key)), sorted(expected(key)), "{key}");
        }
    }
}

#[test]
fn listpacks_and_intsets_are_written_as_real_servers_write_them() {
    for (key, dump) in fixtures(FIXTURES[1]) {
        let value = dump::unwrap(&dump).unwrap();
        let (type_byte, body) = value.split_first().unwrap();
        let written = match (key, decode(value)) {
            ("set:int16" | "set:int32" | "set:int64", Ok(Object::Set(members))) => {
                let number = |text: &Vec<u8>| primitive::canonical_integer(text).unwrap();
                intset::from_members(&members.iter().map(number).collect::<Vec<_>>())
            }
            ("set:lp", Ok(Object::Set(members))) => packed(&members),
            ("h:lp", Ok(Object::Hash(fields))) => {
                let pairs = fields
                    .into_iter()
                    .flat_map(|(field, value, _)| [field, value]);
                packed(&pairs.collect::<Vec<_>>())
            }
            _ => continue,
        };
        let mut out = Vec::new();
        encode::put_blob(&mut out, *type_byte, &written);
        assert_eq!(out, value, "{key}");
        assert_eq!(
            Reader::new(body, Limits::default()).string().unwrap(),
            written
        );
    }
}

#[test]
fn type_22_is_a_hash_only_in_valkeys_version() {
    let (_, dump) = fixtures(FIXTURES[1]).pop().expect("h:ttl is the last");
    let (value, version) = dump::unwrap_with_version(&dump).unwrap();
    assert_eq!((value[0], version), (22, 80));
    assert!(matches!(
        decode(value),
        Err(RdbError::UnsupportedType { type_byte: 22, .. })
    ));
    assert_eq!(dump::wrap(value), dump);
}

#[test]
fn types_that_are_not_read_are_named() {
    for (type_byte, name) in [(6, "module"), (7, "module")] {
        let refusal = decode(&[type_byte, 1, 1]).unwrap_err();
        assert_eq!(refusal, RdbError::UnsupportedType { type_byte, name });
    }
    for type_byte in [8, 22, 23, 25, 26, 255] {
        let refusal = decode(&[type_byte, 1, 1]).unwrap_err();
        assert!(matches!(refusal, RdbError::UnsupportedType { .. }));
    }
}

#[test]
fn a_dump_is_refused_if_short_of_another_version_or_changed() {
    let dump = dump::wrap(b"\x00\x01a");
    assert_eq!(dump::unwrap(&dump), Ok(&b"\x00\x01a"[..]));
    assert_eq!(dump[3..5], [10, 0]);
    assert_eq!(dump::wrap(&[20])[1..3], [11, 0]);
    for len in 0..10 {
        assert_eq!(dump::unwrap(&dump[..len]), Err(DumpError::TooShort));
    }
    for (version, is_read) in [
        (6, true),
        (11, true),
        (12, false),
        (79, false),
        (80, true),
        (81, false),
    ] {
        let mut other = dump.clone();
        other[3] = version;
        let refusal = if is_read {
            DumpError::Checksum
        } else {
            DumpError::Version(version.into())
        };
        assert_eq!(dump::unwrap(&other), Err(refusal));
    }
    let mut unsealed = dump.clone();
    unsealed[1] = b'x';
    assert_eq!(dump::unwrap(&unsealed), Err(DumpError::Checksum));
    unsealed[5..].fill(0);
    assert_eq!(dump::unwrap(&unsealed), Err(DumpError::Checksum));
}

#[test]
fn redis_makes_the_same_dumps() {
    for (key, dump) in fixtures(FIXTURES[0]) {
        assert_eq!(dump::wrap(dump::unwrap(&dump).unwrap()), dump, "{key}");
    }
}

fn packed(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = listpack::Writer::new();
    for element in elements {
        writer.push(element);
    }
    assert_eq!(writer.count(), elements.len());
    writer.finish()
}

/// A payload of one block.
fn blob(type_byte: u8, block: &[u8]) -> Vec<u8> {
    let mut out = vec![type_byte];
    put_raw_string(&mut out, block);
    out
}

#[test]
fn duplicates_are_refused_in_every_encoding() {
    let twice = packed(&strings(&["a", "1", "a", "2"]));
    let many: Vec<_> = (0..50).chain([0]).map(|i| vec![b'm', i]).collect();
    // The second 1 is a string where the first is an integer.
    let mut mixed = listpack::Writer::new();
    mixed.push_integer(1);
    mixed.push_string(b"1");
    for payload in [
        b"\x02\x02\x01a\x01a".to_vec(),
        b"\x02\x02\x011\xc0\x01".to_vec(),
        b"\x04\x02\x01a\x01b\x01a\x01c".to_vec(),
        b"\x03\x02\x01a\x011\x01a\x012".to_vec(),
        b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0".to_vec(),
        blob(9, b"\x02\x01a\x01\0b\x01a\x01\0c\xff"),
        blob(16, &twice),
        blob(17, &twice),
        blob(20, &twice),
        blob(20, &packed(&many)),
        blob(20, &mixed.finish()),
    ] {
        assert_eq!(decode(&payload), Err(RdbError::Duplicate), "{payload:x?}");
    }
    assert!(decode(&blob(20, &packed(&many[1..]))).is_ok());
    assert!(matches!(
        decode(&blob(11, b"\x02\0\0\0\x02\0\0\0\x05\0\x05\0")),
        Err(RdbError::Corrupt(_))
    ));
}

#[test]
fn empty_collections_are_refused_in_every_encoding() {
    let listpack = listpack::Writer::new().finish();
    let ziplist = b"\x0b\0\0\0\x0a\0\0\0\0\0\xff";
    let mut empty_nodes = Vec::new();
    encode::begin_list(&mut empty_nodes, 2);
    encode::put_list_node(&mut empty_nodes, true, &listpack);
    encode::put_list_node(&mut empty_nodes, true, &listpack);
    let mut payloads = vec![
        empty_nodes,
        blob(9, b"\0\xff"),
        blob(10, ziplist),
        blob(11, b"\x02\0\0\0\0\0\0\0"),
        blob(12, ziplist),
        blob(13, ziplist),
        blob(16, &listpack),
        blob(17, &listpack),
        blob(20, &listpack),
    ];
    payloads.extend([1, 2, 3, 4, 5, 14, 18].map(|type_byte| vec![type_byte, 0]));
    for payload in payloads {
        assert_eq!(decode(&payload), Err(RdbError::Empty), "{payload:x?}");
    }
}

#[test]
fn scores_that_are_not_numbers_are_refused_in_every_encoding() {
    let mut binary = b"\x05\x01\x01a".to_vec();
    binary.extend_from_slice(&f64::NAN.to_le_bytes());
    for payload in [
        b"\x03\x01\x01a\xfd".to_vec(),
        b"\x03\x01\x01a\x03nan".to_vec(),
        blob(17, &packed(&strings(&["a", "-nan"]))),
        binary,
    ] {
        assert_eq!(decode(&payload), Err(RdbError::NanScore), "{payload:x?}");
    }
    for text in ["", "x", "1x", "--1", "\u{1}"] {
        let payload = blob(17, &packed(&strings(&["a", text])));
        assert!(
            matches!(decode(&payload), Err(RdbError::Corrupt(_))),
            "{text}"
        );
    }
}

#[test]
fn a_value_ends_where_the_payload_ends() {
    for (key, dump) in FIXTURES.into_iter().flat_map(fixtures) {
        let (value, version) = dump::unwrap_with_version(&dump).unwrap();
        let read = |payload: &[u8]| decode_object_of_version(payload, version, Limits::default());
        let longer = [value, b"\0"].concat();
        assert_eq!(
            read(&longer),
            Err(RdbError::Corrupt("bytes behind the value"))
        );
        for len in 0..value.len() {
            assert!(read(&value[..len]).is_err(), "{key} cut to {len}");
        }
    }
}

#[test]
fn pairs_come_in_pairs() {
    for type_byte in [16, 17] {
        let payload = blob(type_byte, &packed(&strings(&["a", "1", "b"])));
        assert!(matches!(decode(&payload), Err(RdbError::Corrupt(_))));
    }
}

#[test]
fn lengths_that_the_input_cannot_hold_are_refused() {
    let huge = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    for type_byte in [1, 2, 3, 4, 5, 14, 18] {
        let payload = [&[type_byte][..], huge, b"\x01a"].concat();
        assert_eq!(decode(&payload), Err(RdbError::Truncated));
    }
    for type_byte in [0, 9, 10, 11, 12, 13, 16, 17, 20] {
        let payload = [&[type_byte][..], huge, b"\x01a"].concat();
        assert_eq!(decode(&payload), Err(RdbError::TooLarge));
    }
    // 3 bytes that claim to be 256 MB compressed.
    let payload = b"\x00\xc3\x03\x80\x10\x00\x00\x00\xe0\xff\x00";
    assert!(matches!(decode(payload), Err(RdbError::Corrupt(_))));
    let limits = Limits {
        max_string_bytes: 3,
    };
    assert!(decode_object(b"\x00\x03abc", limits).is_ok());
    assert_eq!(
        decode_object(b"\x00\x04abcd", limits),
        Err(RdbError::TooLarge)
    );
}

#[test]
fn list_nodes_are_checked() {
    for payload in [
        &b"\x12\x01\x01\x00"[..],
        b"\x12\x01\x03\x01a",
        b"\x12\x01\x00\x01a",
        b"\x12\x01\x02\x01a",
    ] {
        assert!(
            matches!(decode(payload), Err(RdbError::Corrupt(_))),
            "{payload:x?}"
        );
    }
}

#[test]
fn ziplists_and_zipmaps_with_wrong_bookkeeping_are_refused() {
    let ziplist = b"\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff";
    assert_eq!(ziplist::items(ziplist), Ok(vec![Item::Str(b"a")]));
    // Total, tail, count, length before, encoding, end.
    for (at, byte) in [
        (0, 15),
        (4, 11),
        (8, 2),
        (10, 1),
        (11, 2),
        (11, 0xc1),
        (13, 0),
    ] {
        let mut wrong = *ziplist;
        wrong[at] = byte;
        assert!(ziplist::items(&wrong).is_err(), "byte {at}");
    }
    let zipmap = b"\x01\x01f\x01\x00v\xff";
    assert!(ziplist::zipmap_items(zipmap).is_ok());
    for (at, byte) in [(0, 2), (1, 2), (3, 2), (4, 1), (6, 0)] {
        let mut wrong = *zipmap;
        wrong[at] = byte;
        assert!(ziplist::zipmap_items(&wrong).is_err(), "byte {at}");
    }
}

#[test]
fn intsets_with_wrong_bookkeeping_are_refused() {
    let intset = intset::from_members(&[-1, 5]);
    assert_eq!(intset::members(&intset), Ok(vec![-1, 5]));
    // Width, count, order.
    for (at, byte) in [(0, 4), (0, 3), (4, 1), (4, 3), (9, 0x7f)] {
        let mut wrong = intset.clone();
        wrong[at] = byte;
        assert!(intset::members(&wrong).is_err(), "byte {at}");
    }
}

#[test]
fn long_listpack_entries_are_read_back() {
    for len in [
        0, 63, 64, 127, 128, 4095, 4096, 16_378, 16_379, 16_383, 16_384, 2_097_146, 2_097_147,
        2_097_151,
    ] {
        let string = vec![b's'; len];
        let listpack = packed(&[string.clone(), b"end".to_vec()]);
        let items: Vec<_> = listpack::iter(&listpack).unwrap().collect();
        assert_eq!(items, [Item::Str(&string), Item::Str(b"end")]);
    }
}

/// Xorshift: the same mutations in every run.
pub(super) struct Random(pub u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 12] = [
            0, 1, 0x7f, 0x80, 0x81, 0xc3, 0xf0, 0xf1, 0xf4, 0xfd, 0xfe, 0xff,
        ];
        match self.below(2) {
            0 => TELLING[self.below(TELLING.len())],
            _ => self.below(256) as u8,
        }
    }

    pub fn mutate(&mut self, payload: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            // Mostly near the front, where the lengths are.
            let reach = if self.below(2) == 0 { 16 } else { usize::MAX };
            let at = self.below(payload.len().clamp(1, reach));
            let byte = self.byte();
            match self.below(6) {
                0 => payload.truncate(at),
                1 => payload.insert(at.min(payload.len()), byte),
                2 if at < payload.len() => drop(payload.remove(at)),
                _ => {
                    if let Some(there) = payload.get_mut(at) {
                        *there = byte;
                    }
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_mutated_payloads_never_panic() {
    let seeds: Vec<_> = FIXTURES
        .into_iter()
        .flat_map(fixtures)
        .map(|(_, dump)| dump::unwrap(&dump).unwrap().to_vec())
        .collect();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut accepted = 0;
    for i in 0..100_000 {
        let mut payload = seeds[i % seeds.len()].clone();
        random.mutate(&mut payload);
        let read = || decode_object_of_version(&payload, rdb_version::VALKEY_9, Limits::default());
        let object = catch_unwind(read).unwrap_or_else(|_| panic!("panics: {payload:x?}"));
        if let Ok(object) = object {
            accepted += 1;
            check_accepted(&object);
        }
    }
    assert!(accepted > 1_000, "{accepted} accepted: mutations too wild");
}

/// What the type promises holds.
fn check_accepted(object: &Object) {
    let members: Vec<&Vec<u8>> = match object {
        Object::String(_) => return,
        Object::Stream(stream) => return stream::tests::check(stream),
        Object::List(elements) => return assert!(!elements.is_empty()),
        Object::Set(members) => members.iter().collect(),
        Object::Hash(fields) => fields.iter().map(|(field, ..)| field).collect(),
        Object::ZSet(members) => {
            assert!(members.iter().all(|(_, score)| !score.is_nan()));
            members.iter().map(|(member, _)| member).collect()
        }
    };
    let unique: std::collections::BTreeSet<_> = members.iter().collect();
    assert!(!members.is_empty());
    assert_eq!(unique.len(), members.len());
}

/// Strings of which many are integers, many are alike, and some are long.
fn string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        (-200_i64..200).prop_map(|number| number.to_string().into_bytes()),
        "[-+]?0?[0-9]{0,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..100),
        prop::collection::vec(prop::sample::select(&b"abc"[..]), 0..6000),
    ]
}

fn string_set() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::hash_set(string(), 1..40).prop_map(|set| set.into_iter().collect())
}

/// Input with matches near and far.
fn compressible() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..50),
        prop::collection::vec(0_u8..3, 0..500),
        (any::<u8>(), 0_usize..10_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec(piece, 0..6).prop_flat_map(|pieces| {
        let order = prop::collection::vec(0..pieces.len().max(1), 0..12);
        order.prop_map(move |order| {
            let chosen = order.into_iter().filter_map(|i| pieces.get(i));
            chosen.flatten().copied().collect()
        })
    })
}

proptest! {
    #[test]
    fn lzf_gives_back_what_it_compressed(input in compressible()) {
        if let Some(packed) = lzf::compress(&input) {
            prop_assert!(packed.len() + 4 <= input.len());
            prop_assert_eq!(lzf::decompress(&packed, input.len()), Ok(input.clone()));
            prop_assert!(lzf::decompress(&packed, input.len() + 1).is_err());
            prop_assert!(lzf::decompress(&packed, input.len() - 1).is_err());
        }
    }

    #[test]
    fn lzf_takes_any_bytes(input in prop::collection::vec(any::<u8>(), 0..200), len in 0_usize..4000) {
        if let Ok(output) = lzf::decompress(&input, len) {
            prop_assert_eq!(output.len(), len);
        }
    }

    #[test]
    fn strings_and_lengths_are_read_back(string in string(), length: u64, shift in 0_u32..64) {
        let length = length >> shift;
        let mut out = Vec::new();
        put_length(&mut out, length);
        put_string(&mut out, &string, true);
        put_string(&mut out, &string, false);
        put_raw_string(&mut out, &string);
        let mut reader = Reader::new(&out, Limits::default());
        prop_assert_eq!(reader.length(), Ok(length));
        for _ in 0..3 {
            prop_assert_eq!(reader.string().unwrap().into_owned(), string.clone());
        }
        prop_assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn listpacks_are_read_back(elements in prop::collection::vec(string(), 0..40)) {
        let listpack = packed(&elements);
        let items: Vec<_> = listpack::iter(&listpack).unwrap().map(Item::to_bytes).collect();
        prop_assert_eq!(items, elements);
    }

    #[test]
    fn intsets_are_read_back(members in prop::collection::btree_set(any::<i64>(), 0..40), shift in 0_u32..63) {
        let members: std::collections::BTreeSet<_> = members.iter().map(|m| m >> shift).collect();
        let members: Vec<_> = members.into_iter().collect();
        prop_assert_eq!(intset::members(&intset::from_members(&members)), Ok(members));
    }

    #[test]
    fn string_objects_are_read_back(string in string()) {
        let mut out = Vec::new();
        encode::put_string_object(&mut out, &string);
        prop_assert_eq!(decode(&out), Ok(Object::String(string)));
    }

    #[test]
    fn lists_are_read_back(nodes in prop::collection::vec(prop::collection::vec(string(), 1..10), 1..10)) {
        let mut out = Vec::new();
        encode::begin_list(&mut out, nodes.len());
        for node in &nodes {
            match node.as_slice() {
                [element] if !element.is_empty() => encode::put_list_node(&mut out, false, element),
                elements => encode::put_list_node(&mut out, true, &packed(elements)),
            }
        }
        prop_assert_eq!(decode(&out), Ok(Object::List(nodes.concat())));
    }

    #[test]
    fn sets_are_read_back(members in string_set()) {
        let mut out = Vec::new();
        encode::begin_set(&mut out, members.len());
        for member in &members {
            encode::put_member(&mut out, member);
        }
        prop_assert_eq!(decode(&out), Ok(Object::Set(members.clone())));
        let mut out = Vec::new();
        encode::put_blob(&mut out, value_type::SET_LISTPACK, &packed(&members));
        prop_assert_eq!(decode(&out), Ok(Object::Set(members)));
    }

    #[test]
    fn hashes_are_read_back(fields in string_set(), value in string()) {
        let mut out = Vec::new();
        encode::begin_hash(&mut out, fields.len());
        for field in &fields {
            encode::put_field(&mut out, field, &value);
        }
        let pairs: Vec<_> = fields.iter().flat_map(|field| [field.clone(), value.clone()]).collect();
        let hash = fields.into_iter().map(|field| (field, value.clone(), None)).collect();
        let hash = Object::Hash(hash);
        prop_assert_eq!(decode(&out), Ok(hash.clone()));
        let mut out = Vec::new();
        encode::put_blob(&mut out, value_type::HASH_LISTPACK, &packed(&pairs));
        prop_assert_eq!(decode(&out), Ok(hash));
    }

    #[test]
    fn sorted_sets_are_read_back(members in string_set(), score in prop::num::f64::ANY) {
        prop_assume!(!score.is_nan());
        let mut out = Vec::new();
        encode::begin_zset2(&mut out, members.len());
        for member in &members {
            encode::put_scored_member(&mut out, member, score);
        }
        let text = score.to_string().into_bytes();
        let pairs: Vec<_> = members.iter().flat_map(|member| [member.clone(), text.clone()]).collect();
        let zset = Object::ZSet(members.into_iter().map(|member| (member, score)).collect());
        prop_assert_eq!(decode(&out), Ok(zset.clone()));
        let mut out = Vec::new();
        encode::put_blob(&mut out, value_type::ZSET_LISTPACK, &packed(&pairs));
        prop_assert_eq!(decode(&out), Ok(zset));
    }

    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_object_of_version(&payload, rdb_version::VALKEY_9, Limits::default());
        let _ = dump::unwrap(&payload);
    }
}
