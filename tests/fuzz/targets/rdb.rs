//! RDB files: any bytes are read to their end or refused, and what is read is valid (I9).

use redoubt_persistence::rdb::file::{FileReader, ReadOptions, Record};
use redoubt_persistence::rdb::{Limits, RdbError, dump};

use super::restore::{assert_valid, bodies};
use crate::campaign::Target;

const EOF: u8 = 255;

/// Files of a key each, of every type, and of some keys with everything that can stand around
/// them.
pub fn target() -> Target {
    let bodies = bodies();
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let header = match number % 3 {
            // Fields that expire are of Valkey's version only.
            _ if body[0] == 22 => "VALKEY080",
            0 => "REDIS0010",
            1 => "REDIS0011",
            _ => "VALKEY080",
        };
        let mut records = vec![254, 0];
        put_key(&mut records, body);
        corpus.push(sealed(header, &records));
    }
    for some in bodies.chunks(7) {
        // Auxiliary field, function, data of a module, database, sizes, a slot's counts.
        let mut records = b"\xfa\x09redis-ver\x067.0.15\xf5\x0c#!lua name=f".to_vec();
        records.extend_from_slice(b"\xf7\x81\0\0\0\0\0\0\0\x01\x02\x01\x05\x02hi\x03abcd\0");
        records.extend_from_slice(b"\xfe\x05\xfb\x07\x02\xf4\x05\x01\x01");
        for body in some {
            records.extend_from_slice(b"\xfc\0\0\x01\0\0\0\0\0\xf8\x09\xf9\x03");
            put_key(&mut records, body);
        }
        corpus.push(sealed("VALKEY080", &records));
    }
    Target {
        name: "rdb",
        corpus,
        max_input_bytes: 4096,
        // As for RESTORE, and twice: the value in the file and the value decoded.
        max_memory_bytes: 32 << 20,
        run: Box::new(refused_or_valid),
    }
}

fn put_key(records: &mut Vec<u8>, body: &[u8]) {
    records.extend_from_slice(&[body[0], 3, b'k', b'e', b'y']);
    records.extend_from_slice(&body[1..]);
}

/// A whole file; its checksum is made as that of a DUMP is.
fn sealed(header: &str, records: &[u8]) -> Vec<u8> {
    let mut file = [header.as_bytes(), records, &[EOF]].concat();
    let checksum = redoubt_persistence::rdb::crc64::crc64(0, &file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}

/// Gives a reader its bytes in pieces.
struct Pieces<'i>(&'i [u8], usize);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.0.len().min(into.len()).min(self.1);
        let (piece, rest) = self.0.split_at(len);
        into[..len].copy_from_slice(piece);
        self.0 = rest;
        Ok(len)
    }
}

fn refused_or_valid(input: &[u8], choice: u64) {
    let options = ReadOptions {
        limits: Limits::default(),
        verify_checksum: choice.is_multiple_of(4),
    };
    let pieces = Pieces(input, 1 + (choice >> 8) as usize % 5000);
    let mut reader = match FileReader::new(pieces, options) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    loop {
        assert!(reader.position() <= input.len() as u64);
        match reader.next_record() {
            Err(error) => return assert!(!error.to_string().is_empty()),
            Ok(Record::Eof(_)) => return,
            Ok(Record::Key(key)) => match key.decode(options.limits) {
                Ok(object) => assert_valid(&object),
                Err(RdbError::Empty) => {}
                Err(error) => return assert!(!error.to_string().is_empty()),
            },
            Ok(_) => {}
        }
    }
}

#[test]
fn the_corpus_is_good() {
    let target = target();
    for file in &target.corpus {
        let mut reader = FileReader::new(&file[..], ReadOptions::default()).expect("a header");
        let mut keys = 0;
        loop {
            match reader.next_record().expect("a record") {
                Record::Key(key) => {
                    keys += 1;
                    // Types of a later version stand in an older file too.
                    let _ = key.decode(Limits::default());
                    assert!(dump::unwrap(&dump::wrap(key.payload)).is_ok());
                }
                Record::Eof(_) => break,
                _ => {}
            }
        }
        assert!(keys > 0);
    }
}
