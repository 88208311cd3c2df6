//! Reads an RDB file record by record.

use std::io::Read;

use super::super::object::decode_object_of_version;
use super::super::primitive::Reader;
use super::super::{Limits, Object, RdbError, rdb_version, value_type};
use super::source::{FileError, FileErrorKind, Source};
use super::{module_name, opcode};

/// The newest version behind the magic `REDIS`.
const NEWEST_REDIS: u16 = rdb_version::REDIS_7_2;
/// Since this version a checksum follows the end.
const CHECKSUM_SINCE: u16 = 5;

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Longer strings are an error.
    pub limits: Limits,
    /// Whether a wrong checksum is an error.
    pub verify_checksum: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            limits: Limits::default(),
            verify_checksum: true,
        }
    }
}

/// One record; its bytes are valid until the next is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// An auxiliary field.
    Aux {
        /// Such as `redis-ver`.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The keys to follow are of this database.
    SelectDb(u32),
    /// How large the selected database is; a hint, not a promise.
    ResizeDb {
        /// Keys.
        keys: u64,
        /// Keys with an expiry.
        expires: u64,
    },
    /// A key.
    Key(KeyRecord<'a>),
    /// The source of a function library.
    Function(&'a [u8]),
    /// Data of a module, passed over.
    ModuleAux {
        /// The module's name.
        module: String,
    },
    /// Counts of a slot; a hint.
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Its keys.
        keys: u64,
        /// Its keys with an expiry.
        expires: u64,
    },
    /// The end. Nothing may be read after it.
    Eof(Checksum),
}

/// What the end of a file says of the bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// They are as they were written.
    Matches,
    /// Nothing: the writer made no checksum, or it is not verified.
    Absent,
}

/// A key and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyRecord<'a> {
    /// The database that is selected.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// Absolute expiry, in milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
    /// Seconds since its last use.
    pub idle_s: Option<u64>,
    /// The logarithmic access counter.
    pub frequency: Option<u8>,
    /// Type byte and body as they are in the file: of a known type, every length in it within the
    /// body, otherwise not looked at.
    pub payload: &'a [u8],
    /// The file's RDB version, which says what the type means.
    pub version: u16,
}

impl KeyRecord<'_> {
    /// Validates the value whole and decodes it.
    pub fn decode(&self, limits: Limits) -> Result<Object, RdbError> {
        decode_object_of_version(self.payload, self.version, limits)
    }
}

/// What was said of the key to come.
#[derive(Default)]
struct KeyTraits {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

/// Reads a file's records from any stream. It may read further than the file's end, see
/// [`FileReader::into_parts`].
pub struct FileReader<R> {
    source: Source<R>,
    version: u16,
    options: ReadOptions,
    db: u32,
    encoded: Vec<u8>,
    first: Vec<u8>,
    pub(super) second: Vec<u8>,
}

impl<R: Read> FileReader<R> {
    /// Reads the header.
    pub fn new(input: R, options: ReadOptions) -> Result<FileReader<R>, FileError> {
        let mut source = Source::new(input, options.limits);
        let header: [u8; 9] = match source.array() {
            Err(FileError {
                kind: FileErrorKind::Value(RdbError::Truncated),
                ..
            }) => return Err(source.error(FileErrorKind::NotRdb)),
            header => header?,
        };
        let version = match version_of(&header) {
            Ok(version) => version,
            Err(kind) => return Err(source.error(kind)),
        };
        Ok(FileReader {
            source,
            version,
            options,
            db: 0,
            encoded: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
        })
    }

    /// The file's version; 80 and up are Valkey's.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes read of the file so far.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The stream, and the bytes that were read from it beyond the file's end.
    pub fn into_parts(self) -> (R, Vec<u8>) {
        self.source.into_parts()
    }

    /// The next record. After an error or the end nothing more may be asked for.
    pub fn next_record(&mut self) -> Result<Record<'_>, FileError> {
        let mut traits = KeyTraits::default();
        loop {
            let byte = self.source.byte()?;
            match byte {
                opcode::EXPIRY_MS => {
                    let at_ms = i64::from_le_bytes(self.source.array()?);
                    traits.expire_at_ms = Some(self.checked_expiry(at_ms)?);
                }
                opcode::EXPIRY_S => {
                    let at_s = i32::from_le_bytes(self.source.array()?);
                    traits.expire_at_ms = Some(self.checked_expiry(i64::from(at_s) * 1000)?);
                }
                opcode::IDLE => traits.idle_s = Some(self.source.length()?),
                opcode::FREQUENCY => traits.frequency = Some(self.source.byte()?),
                0..=31 => return self.key(byte, traits),
                _ => return self.other(byte),
            }
        }
    }

    fn checked_expiry(&self, at_ms: i64) -> Result<i64, FileError> {
        match at_ms {
            0.. => Ok(at_ms),
            _ => Err(self
                .source
                .error(RdbError::Corrupt("expiry of a key before 1970"))),
        }
    }

    fn key(&mut self, type_byte: u8, traits: KeyTraits) -> Result<Record<'_>, FileError> {
        if !is_readable(type_byte, self.version) {
            let kind = self.refusal(type_byte)?;
            return Err(self.source.error(kind));
        }
        read_string(
            &mut self.source,
            self.options,
            &mut self.encoded,
            &mut self.first,
        )?;
        self.second.clear();
        self.second.push(type_byte);
        copy_body(&mut self.source, type_byte, &mut self.second)?;
        Ok(Record::Key(KeyRecord {
            db: self.db,
            key: &self.first,
            expire_at_ms: traits.expire_at_ms,
            idle_s: traits.idle_s,
            frequency: traits.frequency,
            payload: &self.second,
            version: self.version,
        }))
    }

    /// Says which type it is that is not read here.
    fn refusal(&mut self, type_byte: u8) -> Result<FileErrorKind, FileError> {
        if type_byte != MODULE {
            return Ok(FileErrorKind::Value(super::super::object::unsupported(
                type_byte,
            )));
        }
        read_string(
            &mut self.source,
            self.options,
            &mut self.encoded,
            &mut self.first,
        )?;
        let module = module_name(self.source.length()?);
        let key = self.first.escape_ascii();
        Ok(FileErrorKind::Unsupported(format!(
            "key '{key}' of module type '{module}'"
        )))
    }

    fn other(&mut self, byte: u8) -> Result<Record<'_>, FileError> {
        let source = &mut self.source;
        match byte {
            opcode::AUX => {
                read_string(source, self.options, &mut self.encoded, &mut self.first)?;
                read_string(source, self.options, &mut self.encoded, &mut self.second)?;
                Ok(Record::Aux {
                    name: &self.first,
                    value: &self.second,
                })
            }
            opcode::SELECT_DB => {
                let db = source.length()?;
                self.db = u32::try_from(db)
                    .map_err(|_| source.error(RdbError::Corrupt("database number")))?;
                Ok(Record::SelectDb(self.db))
            }
            opcode::RESIZE_DB => Ok(Record::ResizeDb {
                keys: source.length()?,
                expires: source.length()?,
            }),
            opcode::SLOT_INFO => Ok(Record::SlotInfo {
                slot: source.length()?,
                keys: source.length()?,
                expires: source.length()?,
            }),
            opcode::FUNCTION => {
                read_string(source, self.options, &mut self.encoded, &mut self.first)?;
                Ok(Record::Function(&self.first))
            }
            opcode::MODULE_AUX => self.module_aux(),
            opcode::EOF => self.end(),
            opcode::FUNCTION_OF_RC => Err(source.error(FileErrorKind::Unsupported(
                "a function library of Redis 7.0's release candidates".into(),
            ))),
            opcode::SLOT_IMPORT => Err(source.error(FileErrorKind::Unsupported(
                "a slot that is being imported".into(),
            ))),
            _ => Err(source.error(FileErrorKind::Unknown(byte))),
        }
    }

    /// Passes over a module's data, which is a list of typed values.
    fn module_aux(&mut self) -> Result<Record<'_>, FileError> {
        let source = &mut self.source;
        let module = module_name(source.length()?);
        // When it is to be loaded, as a typed value.
        if source.length()? != MODULE_UNSIGNED {
            return Err(source.error(RdbError::Corrupt("data of a module")));
        }
        source.length()?;
        loop {
            self.encoded.clear();
            match source.length()? {
                MODULE_END => return Ok(Record::ModuleAux { module }),
                MODULE_SIGNED | MODULE_UNSIGNED => drop(source.length()?),
                MODULE_FLOAT => source.copy(4, &mut self.encoded)?,
                MODULE_DOUBLE => source.copy(8, &mut self.encoded)?,
                MODULE_STRING => source.copy_string(&mut self.encoded)?,
                _ => return Err(source.error(RdbError::Corrupt("data of a module"))),
            }
        }
    }

    fn end(&mut self) -> Result<Record<'_>, FileError> {
        if self.version < CHECKSUM_SINCE {
            return Ok(Record::Eof(Checksum::Absent));
        }
        let found = self.source.checksum();
        let expected = u64::from_le_bytes(self.source.array()?);
        if expected == 0 || !self.options.verify_checksum {
            return Ok(Record::Eof(Checksum::Absent));
        }
        if expected != found {
            let kind = FileErrorKind::Checksum { expected, found };
            return Err(self.source.error(kind));
        }
        Ok(Record::Eof(Checksum::Matches))
    }
}

/// A module's value.
const MODULE: u8 = 7;
const MODULE_END: u64 = 0;
const MODULE_SIGNED: u64 = 1;
const MODULE_UNSIGNED: u64 = 2;
const MODULE_FLOAT: u64 = 3;
const MODULE_DOUBLE: u64 = 4;
const MODULE_STRING: u64 = 5;

fn version_of(header: &[u8; 9]) -> Result<u16, FileErrorKind> {
    let (digits, oldest, newest) = if let Some(digits) = header.strip_prefix(b"REDIS") {
        (digits, 1, NEWEST_REDIS)
    } else if let Some(digits) = header.strip_prefix(b"VALKEY") {
        (digits, rdb_version::VALKEY_9, rdb_version::VALKEY_9)
    } else {
        return Err(FileErrorKind::NotRdb);
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(FileErrorKind::NotRdb);
    }
    let version = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if (oldest..=newest).contains(&version) {
        Ok(version)
    } else {
        Err(FileErrorKind::Version(
            String::from_utf8_lossy(header).into(),
        ))
    }
}

/// A string, decoded into `into`; `encoded` is scratch.
fn read_string<R: Read>(
    source: &mut Source<R>,
    options: ReadOptions,
    encoded: &mut Vec<u8>,
    into: &mut Vec<u8>,
) -> Result<(), FileError> {
    encoded.clear();
    source.copy_string(encoded)?;
    let string = Reader::new(encoded, options.limits).string();
    let string = string.map_err(|error| source.error(error))?;
    into.clear();
    into.extend_from_slice(&string);
    Ok(())
}

/// Whether values of this type can be followed. What a stream says is checked when it is decoded.
fn is_readable(type_byte: u8, version: u16) -> bool {
    match type_byte {
        value_type::STRING..=value_type::ZSET_2 => true,
        value_type::HASH_ZIPMAP..=value_type::STREAM_LISTPACKS_3 => true,
        value_type::HASH_2 => version >= rdb_version::VALKEY_9,
        _ => false,
    }
}

/// Copies a value's body to `out`, following its lengths.
fn copy_body<R: Read>(
    source: &mut Source<R>,
    type_byte: u8,
    out: &mut Vec<u8>,
) -> Result<(), FileError> {
    let (strings, fixed) = match type_byte {
        value_type::LIST | value_type::SET | value_type::LIST_QUICKLIST => (1, 0),
        value_type::HASH => (2, 0),
        value_type::ZSET_2 => (1, 8),
        value_type::HASH_2 => (2, 8),
        value_type::ZSET => return copy_ascii_zset(source, out),
        value_type::LIST_QUICKLIST_2 => {
            for _ in 0..source.copy_length(out)? {
                source.copy_length(out)?;
                source.copy_string(out)?;
            }
            return Ok(());
        }
        value_type::STREAM_LISTPACKS
        | value_type::STREAM_LISTPACKS_2
        | value_type::STREAM_LISTPACKS_3 => return copy_stream(source, type_byte, out),
        _ => return source.copy_string(out),
    };
    for _ in 0..source.copy_length(out)? {
        for _ in 0..strings {
            source.copy_string(out)?;
        }
        source.copy(fixed, out)?;
    }
    Ok(())
}

fn copy_ascii_zset<R: Read>(source: &mut Source<R>, out: &mut Vec<u8>) -> Result<(), FileError> {
    for _ in 0..source.copy_length(out)? {
        source.copy_string(out)?;
        let len = source.byte()?;
        out.push(len);
        // 253 to 255 are NaN and the infinities.
        if len < 253 {
            source.copy(len.into(), out)?;
        }
    }
    Ok(())
}

/// A stream: listpacks under their first ids, its counters, and its consumer groups.
fn copy_stream<R: Read>(
    source: &mut Source<R>,
    type_byte: u8,
    out: &mut Vec<u8>,
) -> Result<(), FileError> {
    const PENDING_ID_BYTES: u64 = 16;
    const TIME_BYTES: u64 = 8;
    let since_7_0 = type_byte >= value_type::STREAM_LISTPACKS_2;
    let since_7_2 = type_byte >= value_type::STREAM_LISTPACKS_3;
    for _ in 0..source.copy_length(out)? {
        source.copy_string(out)?;
        source.copy_string(out)?;
    }
    // Count, last id; since 7.0 first id, largest deleted id, entries ever added.
    for _ in 0..if since_7_0 { 8 } else { 3 } {
        source.copy_length(out)?;
    }
    for _ in 0..source.copy_length(out)? {
        source.copy_string(out)?;
        // Last delivered id; since 7.0 entries read.
        for _ in 0..if since_7_0 { 3 } else { 2 } {
            source.copy_length(out)?;
        }
        for _ in 0..source.copy_length(out)? {
            source.copy(PENDING_ID_BYTES + TIME_BYTES, out)?;
            source.copy_length(out)?;
        }
        for _ in 0..source.copy_length(out)? {
            source.copy_string(out)?;
            // Seen; since 7.2 active.
            source.copy(TIME_BYTES * (1 + u64::from(since_7_2)), out)?;
            for _ in 0..source.copy_length(out)? {
                source.copy(PENDING_ID_BYTES, out)?;
            }
        }
    }
    Ok(())
}
