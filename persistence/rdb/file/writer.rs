//! Writes an RDB file record by record.

use std::io::{self, Write};

use super::super::crc64::crc64;
use super::super::primitive::{put_length, put_string};
use super::super::rdb_version;
use super::compress::put_compressed;
use super::older::in_version_10;
use super::opcode;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

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

/// Writes a file of version 10, which Redis 7.0 and later and Valkey read, to any stream. Order:
/// auxiliary fields, functions, then for each database its number, sizes and keys.
pub struct FileWriter<W> {
    out: W,
    buffer: Vec<u8>,
    crc: u64,
    written: u64,
    options: WriteOptions,
}

impl<W: Write> FileWriter<W> {
    /// Begins with the header.
    pub fn new(out: W, options: WriteOptions) -> FileWriter<W> {
        FileWriter {
            out,
            buffer: format!("REDIS{:04}", rdb_version::REDIS_7_0).into_bytes(),
            crc: 0,
            written: 0,
            options,
        }
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
        self.hand_on(BUFFER_BYTES)
    }

    /// The source of a function library.
    pub fn function(&mut self, source: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::FUNCTION);
        put_string(&mut self.buffer, source, self.options.compress);
        self.hand_on(BUFFER_BYTES)
    }

    /// The keys to follow are of this (logical) database.
    pub fn select_db(&mut self, db: u32) -> io::Result<()> {
        self.buffer.push(opcode::SELECT_DB);
        put_length(&mut self.buffer, db.into());
        self.hand_on(BUFFER_BYTES)
    }

    /// How many keys the selected database has, and how many of them with an expiry. A hint.
    pub fn resize_db(&mut self, keys: u64, expires: u64) -> io::Result<()> {
        self.buffer.push(opcode::RESIZE_DB);
        put_length(&mut self.buffer, keys);
        put_length(&mut self.buffer, expires);
        self.hand_on(BUFFER_BYTES)
    }

    /// A key, its absolute expiry (Unix ms), and its value: type byte and body. A type of version
    /// 11 is written as its forerunner.
    pub fn key(&mut self, key: &[u8], expire_at_ms: Option<i64>, payload: &[u8]) -> io::Result<()> {
        let Some((&type_byte, body)) = payload.split_first() else {
            return Err(io::Error::other("a value without a type"));
        };
        let (type_byte, body) = in_version_10(type_byte, body).map_err(|error| {
            let key = key.escape_ascii();
            io::Error::other(format!("key '{key}' of type {type_byte}: {error}"))
        })?;
        if let Some(at_ms) = expire_at_ms {
            self.buffer.push(opcode::EXPIRY_MS);
            self.buffer.extend_from_slice(&at_ms.to_le_bytes());
        }
        self.buffer.push(type_byte);
        put_string(&mut self.buffer, key, self.options.compress);
        let compressed =
            self.options.compress && put_compressed(type_byte, &body, &mut self.buffer);
        if !compressed && body.len() > BUFFER_BYTES {
            self.hand_on(0)?;
            self.sum_up_and_write(&body)?;
        } else if !compressed {
            self.buffer.extend_from_slice(&body);
        }
        self.hand_on(BUFFER_BYTES)
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
        buffer.shrink_to(BUFFER_BYTES * 2);
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
