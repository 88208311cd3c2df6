//! Streams that real servers wrote, and hostile ones. `fixtures/streams.hex`
//! holds the dumps of one stream with groups, and of one that was emptied,
//! from Valkey 9.1.2 (type 21) and Redis 7.0.15 (type 19).

use std::panic::catch_unwind;

use super::super::listpack::Writer;
use super::super::primitive::{put_length, put_raw_string};
use super::super::tests::{Random, fixtures};
use super::super::{Limits, Object, RdbError, decode_object, dump};
use super::*;

const FIXTURES: &str = include_str!("../fixtures/streams.hex");

fn payload(name: &str) -> Vec<u8> {
    let mut all = fixtures(FIXTURES).into_iter();
    let (_, found) = all.find(|(key, _)| *key == name).expect("a fixture");
    dump::unwrap(&found).expect("a dump").to_vec()
}

fn decode(payload: &[u8]) -> Result<StreamObject, RdbError> {
    match decode_object(payload, Limits::default())? {
        Object::Stream(stream) => Ok(stream),
        other => panic!("not a stream: {other:?}"),
    }
}

/// What the type promises holds.
pub fn check(stream: &StreamObject) {
    let ids = stream.nodes.iter().map(|(id, _)| id);
    assert!(ids.is_sorted_by(|one, next| one < next));
    assert!(stream.nodes.iter().all(|(id, _)| *id <= stream.last_id));
    for (id, listpack) in &stream.nodes {
        assert!(check_node(*id, listpack).is_ok());
    }
    for group in &stream.groups {
        let mut entries = group.pending.iter();
        assert!(entries.all(|entry| entry.consumer < group.consumers.len()));
    }
}

#[test]
fn what_real_servers_wrote_is_read() {
    for server in ["valkey", "redis"] {
        let stream = decode(&payload(&format!("{server}:groups"))).unwrap();
        check(&stream);
        let nodes: Vec<_> = stream.nodes.iter().map(|(id, _)| *id).collect();
        assert_eq!(nodes, [(1001, 1), (1004, 1), (1007, 1)]);
        assert_eq!((stream.length, stream.entries_added), (8, 9));
        assert_eq!((stream.first_id, stream.last_id), ((1001, 1), (2000, 6)));
        assert_eq!(stream.max_deleted_id, (1002, 1));
        let [idle, workers] = &stream.groups[..] else {
            panic!("two groups")
        };
        assert_eq!((&idle.name[..], idle.last_id), (&b"idle"[..], (2000, 6)));
        assert_eq!(
            (workers.last_id, workers.entries_read),
            ((1006, 1), Some(-1))
        );
        let names: Vec<_> = workers.consumers.iter().map(|c| &c.name[..]).collect();
        assert_eq!(names, [&b"alice"[..], b"bob", b"carol"]);
        let pending = workers.pending.iter();
        let pending: Vec<_> = pending
            .map(|p| (p.id.0, p.deliveries, p.consumer))
            .collect();
        assert_eq!(
            pending,
            [(1001, 4, 1), (1004, 1, 0), (1005, 1, 1), (1006, 1, 1)]
        );
        let carol = &workers.consumers[2];
        match server {
            "valkey" => assert_eq!(carol.active_ms, -1),
            _ => assert_eq!(carol.active_ms, carol.seen_ms),
        }
        let whole = payload(&format!("{server}:groups"));
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "cut to {len}");
        }
        let empty = decode(&payload(&format!("{server}:empty"))).unwrap();
        assert_eq!((empty.length, empty.entries_added), (0, 1));
        assert_eq!((empty.last_id, empty.max_deleted_id), ((1, 1), (1, 1)));
    }
}

/// A node of three entries, with what `change` makes of its elements.
fn node(change: impl Fn(usize) -> Option<i64>) -> Vec<u8> {
    // live, deleted, N, name, 0; flags, ms, seq, value, count, three times.
    let elements = [3, 0, 1, 7, 0, 2, 0, 0, 1, 4, 2, 1, 0, 2, 4, 2, 2, 0, 3, 4];
    let mut writer = Writer::new();
    for (at, element) in elements.into_iter().enumerate() {
        writer.push_integer(change(at).unwrap_or(element));
    }
    writer.finish()
}

/// A stream of type 15 with these nodes and numbers, and no groups.
fn old_stream(nodes: &[(EntryId, Vec<u8>)], length: u64, last_id: EntryId) -> Vec<u8> {
    let mut out = vec![value_type::STREAM_LISTPACKS];
    put_length(&mut out, nodes.len() as u64);
    for ((ms, seq), listpack) in nodes {
        put_raw_string(&mut out, &[ms.to_be_bytes(), seq.to_be_bytes()].concat());
        put_raw_string(&mut out, listpack);
    }
    for number in [length, last_id.0, last_id.1, 0] {
        put_length(&mut out, number);
    }
    out
}

#[test]
fn the_first_form_of_streams_is_read() {
    let stream = decode(&old_stream(&[((5, 0), node(|_| None))], 3, (7, 0))).unwrap();
    assert_eq!((stream.first_id, stream.entries_added), ((5, 0), 3));
}

#[test]
fn nodes_that_contradict_themselves_are_refused() {
    let read = |change: &dyn Fn(usize) -> Option<i64>| {
        decode(&old_stream(&[((5, 0), node(change))], 3, (7, 0)))
    };
    assert!(read(&|_| None).is_ok());
    // Each element but the name and the values changed to what it can't be.
    for at in (0..20).filter(|at| ![3, 8, 13, 18].contains(at)) {
        for wrong in [-1, 5, 100, i64::MIN, i64::MAX] {
            let is_id = matches!(at, 6 | 7 | 12 | 17);
            if !is_id {
                let refused = read(&|place| (place == at).then_some(wrong));
                assert!(refused.is_err(), "element {at} is {wrong}");
            }
        }
    }
    // Ids that go back, or stand still.
    for wrong in [0, -1, 2] {
        assert!(read(&|at| (at == 11).then_some(wrong)).is_err());
    }
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let plain = || node(|_| None);
    let good = [((5, 0), plain()), ((9, 0), plain())];
    assert!(decode(&old_stream(&good, 6, (11, 0))).is_ok());
    assert!(decode(&old_stream(&good, 5, (11, 0))).is_err(), "length");
    assert!(decode(&old_stream(&good, 6, (10, 9))).is_err(), "last id");
    let overlapping = [((5, 0), plain()), ((7, 0), plain())];
    assert!(decode(&old_stream(&overlapping, 6, (11, 0))).is_err());
    let backwards = [((9, 0), plain()), ((5, 0), plain())];
    assert!(decode(&old_stream(&backwards, 6, (11, 0))).is_err());
}

#[test]
fn an_id_cut_out_of_a_consumer_leaves_a_pending_entry_without_one() {
    let whole = payload("valkey:groups");
    let stream = decode(&whole).unwrap();
    let id = stream.groups[1].pending[1].id;
    let bytes = [id.0.to_be_bytes(), id.1.to_be_bytes()].concat();
    // The id stands in the group's list and in the consumer's.
    let places: Vec<_> = (0..whole.len() - 16)
        .filter(|&at| whole[at..at + 16] == bytes[..])
        .collect();
    let [_, in_group, in_consumer] = places[..] else {
        panic!("one node's id, one pending entry, one of a consumer: {places:?}")
    };
    for at in [in_group, in_consumer] {
        let mut wrong = whole.clone();
        wrong[at + 15] ^= 1;
        assert!(decode(&wrong).is_err());
    }
}

#[test]
fn mutated_streams_never_panic() {
    let seeds: Vec<_> = fixtures(FIXTURES)
        .into_iter()
        .map(|(_, found)| dump::unwrap(&found).unwrap().to_vec())
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for i in 0..60_000 {
        let mut mutated = seeds[i % seeds.len()].clone();
        random.mutate(&mut mutated);
        let read = || decode_object(&mutated, Limits::default());
        let object = catch_unwind(read).unwrap_or_else(|_| panic!("panics: {mutated:x?}"));
        if let Ok(Object::Stream(stream)) = object {
            check(&stream);
        }
    }
}
