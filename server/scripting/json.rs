//! The library `cjson`. Source: the manual of Lua CJSON 2.1.

use super::engine::{building_turn, owner};
use super::lua::{Entry, Lua, Native, Raise, kind, native};

/// Settings, each of which has a function.
#[derive(Clone, Copy)]
pub struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    encode_invalid: bool,
    encode_invalid_as_null: bool,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: false,
            encode_invalid_as_null: false,
            decode_invalid: true,
        }
    }
}

/// Pushes the library. Raises.
pub fn build(lua: Lua) {
    lua.new_table(0, 16);
    let functions: [(&str, Entry); 10] = [
        ("encode", native!(encode)),
        ("decode", native!(super::json_read::decode)),
        ("encode_sparse_array", native!(encode_sparse_array)),
        ("encode_max_depth", native!(encode_max_depth)),
        ("decode_max_depth", native!(decode_max_depth)),
        ("encode_number_precision", native!(encode_number_precision)),
        ("encode_keep_buffer", native!(encode_keep_buffer)),
        ("encode_invalid_numbers", native!(encode_invalid_numbers)),
        ("decode_invalid_numbers", native!(decode_invalid_numbers)),
        ("new", native!(new)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
    lua.push_pointer(std::ptr::null_mut());
    lua.raw_set_field(-2, "null");
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        lua.push_bytes(text.as_bytes());
        lua.raw_set_field(-2, name);
    }
}

/// A further copy of the library; its settings are those of the interpreter.
fn new(lua: Lua) -> Native {
    build(lua);
    Ok(1)
}

fn settings<'a>(lua: Lua) -> &'a mut Settings {
    &mut owner(lua).json
}

/// Limits on nesting when reading.
pub fn decode_limits(lua: Lua) -> (i64, bool) {
    let settings = settings(lua);
    (settings.decode_depth, settings.decode_invalid)
}

/// Reads an integer argument within bounds, if it is given.
fn integer_setting(
    lua: Lua,
    at: i32,
    value: &mut i64,
    most: i64,
    least: i64,
    text: &'static str,
) -> Result<(), Raise> {
    if !lua.is_none_or_nil(at) {
        let wanted = lua.check_integer(at)?;
        if !(least..=most).contains(&wanted) {
            return Err(Raise::Argument(at, text));
        }
        *value = wanted;
    }
    Ok(())
}

const OFF_ON: &[&str] = &["off", "on"];

/// Reads an argument that is one of these words, the first two of which false
/// and true stand for; None if it is not given. Raises.
fn word_setting(lua: Lua, at: i32, words: &[&str]) -> Result<Option<usize>, Raise> {
    if lua.is_none_or_nil(at) {
        return Ok(None);
    }
    if lua.kind(at) == kind::BOOLEAN {
        return Ok(Some(usize::from(lua.boolean(at))));
    }
    let given = lua.check_bytes(at)?;
    let found = words.iter().position(|word| word.as_bytes() == given);
    if found.is_some() {
        return Ok(found);
    }
    lua.push_bytes(b"invalid option '");
    lua.push_copy(at);
    lua.push_bytes(b"'");
    lua.concat(3);
    let text: &'static [u8] = lua.bytes(-1).unwrap_or_default();
    let text = std::str::from_utf8(text).unwrap_or("invalid option");
    Err(Raise::Argument(at, text))
}

fn one_argument_at_most(lua: Lua, most: i32) -> Result<(), Raise> {
    match lua.top() > most {
        true => Err(Raise::Argument(most + 1, "found too many arguments")),
        false => Ok(()),
    }
}

const POSITIVE: &str = "expected integer between 1 and 2147483647";

fn encode_max_depth(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    let depth = &mut settings(lua).encode_depth;
    integer_setting(lua, 1, depth, i64::from(i32::MAX), 1, POSITIVE)?;
    lua.push_number(*depth as f64);
    Ok(1)
}

fn decode_max_depth(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    let depth = &mut settings(lua).decode_depth;
    integer_setting(lua, 1, depth, i64::from(i32::MAX), 1, POSITIVE)?;
    lua.push_number(*depth as f64);
    Ok(1)
}

fn encode_number_precision(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    let precision = &mut settings(lua).precision;
    let text = "expected integer between 1 and 14";
    integer_setting(lua, 1, precision, 14, 1, text)?;
    lua.push_number(*precision as f64);
    Ok(1)
}

fn encode_sparse_array(lua: Lua) -> Native {
    one_argument_at_most(lua, 3)?;
    let settings = settings(lua);
    if let Some(word) = word_setting(lua, 1, OFF_ON)? {
        settings.sparse_convert = word != 0;
    }
    let text = "expected integer between 0 and 2147483647";
    let most = i64::from(i32::MAX);
    integer_setting(lua, 2, &mut settings.sparse_ratio, most, 0, text)?;
    integer_setting(lua, 3, &mut settings.sparse_safe, most, 0, text)?;
    lua.push_boolean(settings.sparse_convert);
    lua.push_number(settings.sparse_ratio as f64);
    lua.push_number(settings.sparse_safe as f64);
    Ok(3)
}

fn encode_keep_buffer(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    if let Some(word) = word_setting(lua, 1, OFF_ON)? {
        settings(lua).keep_buffer = word != 0;
    }
    lua.push_boolean(settings(lua).keep_buffer);
    Ok(1)
}

fn encode_invalid_numbers(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    let settings = settings(lua);
    if let Some(word) = word_setting(lua, 1, &["off", "on", "null"])? {
        settings.encode_invalid = word != 0;
        settings.encode_invalid_as_null = word == 2;
    }
    match settings.encode_invalid_as_null {
        true => lua.push_bytes(b"null"),
        false => lua.push_boolean(settings.encode_invalid),
    }
    Ok(1)
}

fn decode_invalid_numbers(lua: Lua) -> Native {
    one_argument_at_most(lua, 1)?;
    if let Some(word) = word_setting(lua, 1, OFF_ON)? {
        settings(lua).decode_invalid = word != 0;
    }
    lua.push_boolean(settings(lua).decode_invalid);
    Ok(1)
}

fn encode(lua: Lua) -> Native {
    if lua.top() != 1 {
        return Err(Raise::Argument(1, "expected 1 argument"));
    }
    owner(lua).scratch.clear();
    write_value(lua, 0)?;
    lua.push_bytes(&owner(lua).scratch);
    Ok(1)
}

fn out<'a>(lua: Lua) -> &'a mut Vec<u8> {
    &mut owner(lua).scratch
}

/// Raises `Cannot serialise <type>: <reason>`.
fn refuse(lua: Lua, at: i32, reason: &str) -> Raise {
    let kind = lua.kind_name(at);
    lua.push_place(1);
    lua.push_bytes(b"Cannot serialise ");
    lua.push_bytes(kind.as_bytes());
    lua.push_bytes(b": ");
    lua.push_bytes(reason.as_bytes());
    lua.concat(5);
    Raise::Top
}

/// Writes the value on top.
fn write_value(lua: Lua, depth: i64) -> Result<(), Raise> {
    building_turn(lua)?;
    match lua.kind(-1) {
        kind::STRING => write_string(lua, -1)?,
        kind::NUMBER => write_number(lua, -1)?,
        kind::BOOLEAN if lua.boolean(-1) => out(lua).extend_from_slice(b"true"),
        kind::BOOLEAN => out(lua).extend_from_slice(b"false"),
        kind::NIL => out(lua).extend_from_slice(b"null"),
        kind::LIGHT_POINTER if lua.pointer(-1).is_null() => {
            out(lua).extend_from_slice(b"null");
        }
        kind::TABLE => write_table(lua, depth + 1)?,
        _ => return Err(refuse(lua, -1, "type not supported")),
    }
    Ok(())
}

fn write_table(lua: Lua, depth: i64) -> Result<(), Raise> {
    if depth > settings(lua).encode_depth || !lua.has_room(8) {
        let mut digits = itoa::Buffer::new();
        lua.push_place(1);
        lua.push_bytes(b"Cannot serialise, excessive nesting (");
        lua.push_bytes(digits.format(depth).as_bytes());
        lua.push_bytes(b")");
        lua.concat(4);
        return Err(Raise::Top);
    }
    match array_length(lua)? {
        0 => write_object(lua, depth),
        length => {
            out(lua).push(b'[');
            for number in 1..=length {
                if number > 1 {
                    out(lua).push(b',');
                }
                lua.raw_get_at(-1, number);
                write_value(lua, depth)?;
                lua.pop(1);
            }
            out(lua).push(b']');
            Ok(())
        }
    }
}

/// The length of the table on top if it is an array, else 0.
fn array_length(lua: Lua) -> Result<i32, Raise> {
    let (mut most, mut items) = (0_i64, 0_i64);
    lua.push_nil();
    while lua.next(-2) {
        building_turn(lua)?;
        let key = lua.number(-2);
        let whole = lua.kind(-2) == kind::NUMBER && key.floor() == key && key >= 1.0;
        lua.pop(1);
        if !whole || key > f64::from(i32::MAX) {
            lua.pop(1);
            return Ok(0);
        }
        most = most.max(key as i64);
        items += 1;
    }
    let settings = settings(lua);
    let sparse = settings.sparse_ratio > 0
        && most > items * settings.sparse_ratio
        && most > settings.sparse_safe;
    if sparse {
        if !settings.sparse_convert {
            return Err(refuse(lua, -1, "excessively sparse array"));
        }
        return Ok(0);
    }
    Ok(most as i32)
}

fn write_object(lua: Lua, depth: i64) -> Result<(), Raise> {
    out(lua).push(b'{');
    let mut first = true;
    lua.push_nil();
    while lua.next(-2) {
        if !std::mem::take(&mut first) {
            out(lua).push(b',');
        }
        match lua.kind(-2) {
            kind::NUMBER => {
                out(lua).push(b'"');
                write_number(lua, -2)?;
                out(lua).push(b'"');
            }
            kind::STRING => write_string(lua, -2)?,
            _ => {
                return Err(refuse(lua, -2, "table key must be a number or string"));
            }
        }
        out(lua).push(b':');
        write_value(lua, depth)?;
        lua.pop(1);
    }
    out(lua).push(b'}');
    Ok(())
}

fn write_number(lua: Lua, at: i32) -> Result<(), Raise> {
    let number = lua.number(at);
    let settings = settings(lua);
    if !number.is_finite() {
        if !settings.encode_invalid {
            return Err(refuse(lua, at, "must not be NaN or Inf"));
        }
        let text: &[u8] = match number {
            _ if settings.encode_invalid_as_null => b"null",
            n if n.is_nan() => b"nan",
            n if n > 0.0 => b"inf",
            _ => b"-inf",
        };
        out(lua).extend_from_slice(text);
        return Ok(());
    }
    let mut text = [0_u8; 40];
    // SAFETY: the buffer is longer than %.14g ever is.
    let len = unsafe {
        libc::snprintf(
            text.as_mut_ptr().cast(),
            text.len(),
            c"%.*g".as_ptr(),
            settings.precision as libc::c_int,
            number,
        )
    };
    out(lua).extend_from_slice(&text[..len.clamp(0, 39) as usize]);
    Ok(())
}

fn write_string(lua: Lua, at: i32) -> Result<(), Raise> {
    const PIECE: usize = 64 << 10;
    let text = lua.bytes(at).unwrap_or_default();
    out(lua).reserve(text.len() + 2);
    out(lua).push(b'"');
    for piece in text.chunks(PIECE) {
        write_piece(out(lua), piece);
        building_turn(lua)?;
    }
    out(lua).push(b'"');
    Ok(())
}

fn write_piece(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            byte => out.push(byte),
        }
    }
}
