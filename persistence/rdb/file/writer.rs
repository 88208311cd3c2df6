//! Writes an RDB file record by record.

use std::borrow::Cow;
use std::io::{self, Write};

use super::super::crc64::crc64;
use super::super::primitive::{put_length, put_string};
use super::super::{disputed, rdb_version, value_type};
use super::compress::put_compressed;
use super::older::in_version_10;
use super::opcode;

/// Bytes that are gathered before they are written.
const GATHERED_BYTES: usize = 32 << 10;
/// Capacity of the buffer they are gathered in; a key that is not large itself fits in behind
/// them.
pub const BUFFER_BYTES: usize = 2 * GATHERED_BYTES;

/// Bytes of the magic and the version.
const HEADER_BYTES: u64 = 9;

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// `rdbcompression`: longer strings are compressed.
    pub compress: bool,
    /// `rdbchecksum`: a checksum is made.
    pub checksum: bool,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            compress: true,
            checksum: true,
        }
    }
}

/// Writes a file of version 10, which Redis 7.0 and later and Valkey read, to any stream; or of
/// Valkey's version 80, see [`FileWriter::for_valkey_9`]. Order: auxiliary fields, functions, then
/// for each database its number, sizes and keys.
pub struct FileWriter<W> {
    out: W,
    buffer: Vec<u8>,
    crc: u64,
    written: u64,
    options: WriteOptions,
    /// Of version 80: hashes with an expiry a field can be written.
    for_valkey_9: bool,
    /// For a server that is not Valkey 9.
    for_redis: bool,
}

impl<W: Write> FileWriter<W> {
    /// Begins with the header.
    pub fn new(out: W, options: WriteOptions) -> FileWriter<W> {
        FileWriter::gathering_in(Vec::with_capacity(BUFFER_BYTES), out, options)
    }

    /// The same with a buffer of the caller's, [`BUFFER_BYTES`], whose content is dropped.
    pub fn gathering_in(mut buffer: Vec<u8>, out: W, options: WriteOptions) -> FileWriter<W> {
        buffer.clear();
        buffer.extend_from_slice(format!("REDIS{:04}", rdb_version::REDIS_7_0).as_bytes());
        FileWriter {
            out,
            buffer,
            crc: 0,
            written: 0,
            options,
            for_valkey_9: false,
            for_redis: false,
        }
    }

    /// The same for a reader that is Redis, or Valkey before 9: as to streams with very large
    /// entries, neither reads what Valkey 9 does (see [`disputed`]).
    pub fn for_redis(mut self, for_redis: bool) -> FileWriter<W> {
        self.for_redis = for_redis;
        self
    }

    /// The same in version 80, which Valkey 9 reads and no Redis does: the only one that has
    /// hashes with an expiry a field. Nothing must have been written yet.
    pub fn for_valkey_9(mut self) -> FileWriter<W> {
        assert_eq!(self.position(), HEADER_BYTES, "the header comes first");
        self.buffer.clear();
        self.buffer
            .extend_from_slice(format!("VALKEY{:03}", rdb_version::VALKEY_9).as_bytes());
        self.for_valkey_9 = true;
        self
    }

    /// Bytes so far, those not handed on yet included.
    pub fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// An auxiliary field.
    pub fn aux(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::AUX);
        put_string(&mut self.buffer, name.as_bytes(), false);
        put_string(&mut self.buffer, value, false);
        self.hand_on(GATHERED_BYTES)
    }

    /// The source of a function library.
    pub fn function(&mut self, source: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::FUNCTION);
        put_string(&mut self.buffer, source, self.options.compress);
        self.hand_on(GATHERED_BYTES)
    }

    /// The keys to follow are of this (logical) database.
    pub fn select_db(&mut self, db: u32) -> io::Result<()> {
        self.buffer.push(opcode::SELECT_DB);
        put_length(&mut self.buffer, db.into());
        self.hand_on(GATHERED_BYTES)
    }

    /// How many keys the selected database has, and how many of them with an expiry. A hint.
    pub fn resize_db(&mut self, keys: u64, expires: u64) -> io::Result<()> {
        self.buffer.push(opcode::RESIZE_DB);
        put_length(&mut self.buffer, keys);
        put_length(&mut self.buffer, expires);
        self.hand_on(GATHERED_BYTES)
    }

    /// A key, its absolute expiry (Unix ms), and its value: type byte and body. A type of version
    /// 11 is written as its forerunner. A hash with an expiry a field is an error of the kind
    /// [`io::ErrorKind::Unsupported`] unless the file is [for Valkey 9](FileWriter::for_valkey_9).
    pub fn key(&mut self, key: &[u8], expire_at_ms: Option<i64>, payload: &[u8]) -> io::Result<()> {
        let Some((&type_byte, body)) = payload.split_first() else {
            return Err(io::Error::other("a value without a type"));
        };
        let (type_byte, body) = match type_byte {
            value_type::HASH_2 if self.for_valkey_9 => (type_byte, Cow::Borrowed(body)),
            _ => in_version_10(type_byte, body).map_err(|error| {
                let kind = match type_byte {
                    value_type::HASH_2 => io::ErrorKind::Unsupported,
                    _ => io::ErrorKind::Other,
                };
                let key = key.escape_ascii();
                io::Error::new(kind, format!("key '{key}' of type {type_byte}: {error}"))
            })?,
        };
        let settled = disputed::settle(type_byte, &body, self.for_redis);
        let (type_byte, body) = match settled {
            Some((type_byte, body)) => (type_byte, Cow::Owned(body)),
            None => (type_byte, body),
        };
        if let Some(at_ms) = expire_at_ms {
            self.buffer.push(opcode::EXPIRY_MS);
            self.buffer.extend_from_slice(&at_ms.to_le_bytes());
        }
        self.buffer.push(type_byte);
        put_string(&mut self.buffer, key, self.options.compress);
        let compressed =
            self.options.compress && put_compressed(type_byte, &body, &mut self.buffer);
        if !compressed && body.len() > GATHERED_BYTES {
            self.hand_on(0)?;
            self.sum_up_and_write(&body)?;
        } else if !compressed {
            self.buffer.extend_from_slice(&body);
        }
        self.hand_on(GATHERED_BYTES)
    }

    /// Ends the file, and gives the stream, flushed, and the number of bytes written.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.buffer.push(opcode::EOF);
        self.hand_on(0)?;
        let checksum = if self.options.checksum { self.crc } else { 0 };
        self.out.write_all(&checksum.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.written + 8))
    }

    /// Writes out what is gathered once it is so many bytes.
    fn hand_on(&mut self, at_least: usize) -> io::Result<()> {
        if self.buffer.len() < at_least {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.sum_up_and_write(&buffer)?;
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES);
        self.buffer = buffer;
        Ok(())
    }

    fn sum_up_and_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.options.checksum {
            self.crc = crc64(self.crc, bytes);
        }
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
