//! RESTORE: a dump is refused, or it is a whole and valid value (I9).

use redoubt_persistence::rdb::{Limits, Object, decode_object_of_version, dump};

use crate::campaign::Target;
use crate::mutator::Random;

/// Dumps of every type that Redis 7.0.15 and Valkey 9.1.2 make: `name hex` a line.
const FIXTURES: [&str; 3] = [
    include_str!("../../../persistence/rdb/fixtures/redis-7.0.15.hex"),
    include_str!("../../../persistence/rdb/fixtures/valkey-9.1.2.hex"),
    include_str!("../../../persistence/rdb/fixtures/streams.hex"),
];

/// The input is the body of a dump; most get a good checksum, or nothing else would be reached.
pub fn target() -> Target {
    Target {
        name: "restore",
        corpus: bodies(),
        max_input_bytes: 2048,
        // LZF makes at most 88 bytes of one, and of three of those bytes an element of a
        // collection, which takes about a hundred.
        max_memory_bytes: 16 << 20,
        run: Box::new(refused_or_valid),
    }
}

/// The values of the fixtures: type byte and body.
pub fn bodies() -> Vec<Vec<u8>> {
    let lines = FIXTURES.iter().flat_map(|text| text.lines());
    let dumps = lines.filter_map(|line| line.split_once(' '));
    let bodies = dumps.map(|(_, hex)| {
        let dump = bytes_of(hex);
        let body = dump::unwrap(&dump).expect("a fixture is good");
        body.to_vec()
    });
    bodies.collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
    let pairs = hex.trim().as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn refused_or_valid(input: &[u8], choice: u64) {
    // As it is, the last ten bytes are version and checksum.
    if let Err(error) = dump::unwrap(input) {
        assert!(!error.to_string().is_empty());
    }
    let sealed = dump::wrap(input);
    let (body, version) = dump::unwrap_with_version(&sealed).expect("wrap seals it");
    assert_eq!(body, input);
    let version = match choice % 2 {
        0 => version,
        _ => *Random::new(choice).choose(&[6, 9, 10, 11, 80]),
    };
    let decoded = decode_object_of_version(body, version, Limits::default());
    match decoded {
        Ok(object) => assert_valid(&object),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Panics unless a value keeps the rules of its type.
pub fn assert_valid(object: &Object) {
    let (members, count): (Vec<&Vec<u8>>, usize) = match object {
        Object::String(_) | Object::Stream(_) => return,
        Object::List(elements) => return assert!(!elements.is_empty()),
        Object::Set(members) => (members.iter().collect(), members.len()),
        Object::Hash(fields) => (fields.iter().map(|field| &field.0).collect(), fields.len()),
        Object::ZSet(members) => {
            assert!(members.iter().all(|(_, score)| !score.is_nan()));
            (
                members.iter().map(|member| &member.0).collect(),
                members.len(),
            )
        }
    };
    let different: std::collections::HashSet<_> = members.into_iter().collect();
    assert_eq!(different.len(), count, "a member occurs twice");
    assert!(count > 0, "an empty collection");
}
