//! Streams against a sorted map, and what real servers wrote.

use std::collections::BTreeMap;

use redoubt_persistence::rdb::{Limits, Object, decode_object, dump};

use super::*;
use crate::keyspace::codec::decode_payload;
use crate::keyspace::entry::Value;

type Fields = Vec<Vec<u8>>;
type Model = BTreeMap<StreamId, Fields>;

fn flat(entry: StreamEntry<'_>) -> (StreamId, Fields) {
    let fields = entry.fields;
    let fields = fields.flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
    (entry.id, fields.collect())
}

fn check(entries: &Entries, model: &Model, start: StreamId, end: StreamId) {
    assert_eq!(entries.len(), model.len() as u64);
    let first = model.keys().next().copied().unwrap_or(StreamId::MIN);
    assert_eq!(entries.first_id(), first);
    assert_eq!(entries.last_present_id(), model.keys().next_back().copied());
    let found: Vec<_> = entries.range(start, end).map(flat).collect();
    let expected: Vec<_> = match start <= end {
        true => model
            .range(start..=end)
            .map(|(id, fields)| (*id, fields.clone()))
            .collect(),
        false => Vec::new(),
    };
    assert_eq!(found, expected);
    let mut reverse: Vec<_> = entries.range_reverse(start, end).map(flat).collect();
    reverse.reverse();
    assert_eq!(reverse, expected);
}

/// Fields of several shapes, small and large, some alike.
fn fields(rng: &mut fastrand::Rng) -> Fields {
    let value = |rng: &mut fastrand::Rng| match rng.u8(0..6) {
        0 => b"12345".to_vec(),
        1 => b"-9223372036854775808".to_vec(),
        2 => vec![b'x'; rng.usize(0..300)],
        3 if rng.u8(0..20) == 0 => vec![b'y'; 16_378],
        _ => vec![rng.u8(..)],
    };
    match rng.u8(0..4) {
        0 => vec![b"other".to_vec(), value(rng)],
        1 => vec![b"a".to_vec(), value(rng), b"7".to_vec(), value(rng)],
        _ => vec![b"name".to_vec(), value(rng), b"2".to_vec(), value(rng)],
    }
}

fn random_id(rng: &mut fastrand::Rng, last: StreamId) -> StreamId {
    StreamId {
        ms: rng.u64(0..=last.ms + 1),
        seq: rng.u64(0..3),
    }
}

/// The same after a round through its image.
fn reread(stream: &Stream) -> Stream {
    let mut image = Vec::new();
    encode(stream, &mut image);
    match decode_payload(&image) {
        Ok(Value::Stream(stream)) => stream,
        Ok(_) => panic!("another type"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn entries_are_what_a_sorted_map_would_hold() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut stream, mut model) = (Stream::new(), Model::new());
        for step in 0..1500 {
            let entries = &mut stream.entries;
            let last = entries.last_id();
            match rng.u8(0..20) {
                0..12 => {
                    let id = match rng.bool() {
                        true => last.next().unwrap(),
                        false => StreamId {
                            ms: last.ms + rng.u64(1..5),
                            seq: rng.u64(0..2),
                        },
                    };
                    let fields = fields(&mut rng);
                    let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                    entries.push(id, &slices);
                    model.insert(id, fields);
                }
                12..16 => {
                    let id = random_id(&mut rng, last);
                    let id = model.range(id..).next().map_or(id, |(id, _)| *id);
                    assert_eq!(entries.delete(id), model.remove(&id).is_some());
                    assert!(!entries.delete(id));
                }
                16 => trim(&mut rng, entries, &mut model),
                17 if rng.u8(0..10) == 0 => {
                    let present = entries.last_present_id().unwrap_or(StreamId::MIN);
                    entries.set_ids(present.max(entries.max_deleted_id()), None, None);
                }
                18 if rng.u8(0..20) == 0 => stream = reread(&stream),
                _ => {}
            }
            if step % 16 == 0 {
                let (start, end) = (random_id(&mut rng, last), random_id(&mut rng, last));
                check(&stream.entries, &model, start, end);
                check(&stream.entries, &model, StreamId::MIN, StreamId::MAX);
            }
        }
    }
}

fn trim(rng: &mut fastrand::Rng, entries: &mut Entries, model: &mut Model) {
    let exact = match rng.bool() {
        true => Trim::MaxLen(rng.u64(0..=entries.len())),
        false => Trim::MinId(random_id(rng, entries.first_id())),
    };
    let before = entries.len();
    let exactness = match rng.u8(0..3) {
        0 => Exactness::Nodes {
            limit: rng.u64(0..300),
        },
        _ => Exactness::Exact,
    };
    let removed = entries.trim(exact, exactness);
    let wanted = match exact {
        Trim::MaxLen(max) => before.saturating_sub(max),
        Trim::MinId(id) => model.range(..id).count() as u64,
    };
    match exactness {
        Exactness::Exact => assert_eq!(removed, wanted),
        Exactness::Nodes { limit } => {
            assert!(removed <= wanted && (limit == 0 || removed <= limit));
        }
    }
    for _ in 0..removed {
        model.pop_first();
    }
}

#[test]
fn a_lowered_last_id_leaves_room_behind_deleted_entries() {
    let id = |ms| StreamId { ms, seq: 0 };
    let mut stream = Stream::new();
    for ms in [1, 2, 9] {
        stream.entries.push(id(ms), &[b"a", b"b"]);
    }
    assert!(stream.entries.delete(id(9)));
    stream.entries.set_ids(id(9), None, Some(id(2)));
    stream.entries.set_ids(id(5), None, None);
    stream.entries.push(id(7), &[b"a", b"b"]);
    let ids: Vec<_> = stream
        .entries
        .range(StreamId::MIN, StreamId::MAX)
        .map(|e| e.id.ms)
        .collect();
    assert_eq!(ids, [1, 2, 7]);
    assert_eq!(reread(&stream).entries.len(), 3);
}

#[test]
fn groups_know_who_has_what() {
    let id = |ms| StreamId { ms, seq: 0 };
    let mut group = Group::new(StreamId::MIN, None);
    let [alice, bob] = [b"alice", &b"bob"[..]].map(|name| group.add_consumer(name, 5).unwrap());
    assert!(group.add_consumer(b"bob", 6).is_none());
    let pending = |consumer| Pending {
        delivered_ms: 1,
        deliveries: 1,
        consumer,
    };
    for ms in 1..=4 {
        group.assign(id(ms), pending(alice));
    }
    group.assign(id(2), pending(bob));
    let own = |group: &Group, who| {
        let ids = group.consumer(who).pending_from(StreamId::MIN);
        ids.map(|id| id.ms).collect::<Vec<_>>()
    };
    assert_eq!(
        (own(&group, alice), own(&group, bob)),
        (vec![1, 3, 4], vec![2])
    );
    assert_eq!(group.acknowledge(id(3)), Some(pending(alice)));
    assert_eq!(group.acknowledge(id(3)), None);
    assert_eq!(group.delete_consumer(b"alice"), Some(2));
    assert_eq!(group.pending_len(), 1);
    let carol = group.add_consumer(b"carol", 7).unwrap();
    assert_eq!(
        own(&group, carol),
        [0; 0],
        "a new consumer inherits nothing"
    );
    assert_eq!(own(&group, bob), [2]);
}

/// `persistence/rdb/fixtures/streams.hex`: dumps by Valkey 9.1.2 and, of an
/// older type, Redis 7.0.15.
#[test]
fn what_real_servers_wrote_is_written_again_byte_for_byte() {
    let fixtures = include_str!("../../../persistence/rdb/fixtures/streams.hex");
    for line in fixtures.lines() {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        let pairs = digits.chunks(2);
        let bytes: Vec<_> = pairs.map(|pair| pair[0] << 4 | pair[1]).collect();
        let image = dump::unwrap(&bytes).unwrap();
        let decode = |image: &[u8]| match decode_object(image, Limits::default()) {
            Ok(Object::Stream(object)) => object,
            other => panic!("{name} is a stream: {other:?}"),
        };
        let mut written = Vec::new();
        encode(&Stream::from(decode(image)), &mut written);
        if name.starts_with("valkey") {
            assert_eq!(written, image, "{name}");
        }
        assert_eq!(decode(&written), decode(image), "{name}");
    }
}
