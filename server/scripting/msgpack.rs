//! The library `cmsgpack`. Source: the MessagePack specification, and the
//! documentation of lua-cmsgpack for what becomes of which type.

use super::engine::{building_turn, owner, turn};
use super::lua::{Entry, Lua, Native, Raise, kind, native};

/// Tables deeper than this are packed as nil.
const MOST_DEPTH: i32 = 16;
const MISSING: &str = "Missing bytes in input.";
const BAD: &str = "Bad data format in input.";

/// Pushes the library. Raises.
pub fn build(lua: Lua) {
    lua.new_table(0, 8);
    let functions: [(&str, Entry); 4] = [
        ("pack", native!(pack)),
        ("unpack", native!(unpack)),
        ("unpack_one", native!(unpack_one)),
        ("unpack_limit", native!(unpack_limit)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Part of Redoubt"),
        ("_DESCRIPTION", "MessagePack for Lua"),
    ] {
        lua.push_bytes(text.as_bytes());
        lua.raw_set_field(-2, name);
    }
}

fn out<'a>(lua: Lua) -> &'a mut Vec<u8> {
    &mut owner(lua).scratch
}

fn pack(lua: Lua) -> Native {
    let count = lua.top();
    if count == 0 {
        return Err(Raise::Argument(0, "MessagePack pack needs input."));
    }
    out(lua).clear();
    for at in 1..=count {
        lua.push_copy(at);
        write_value(lua, 0)?;
    }
    lua.push_bytes(out(lua));
    Ok(1)
}

/// Writes and pops the value on top.
fn write_value(lua: Lua, depth: i32) -> Result<(), Raise> {
    building_turn(lua)?;
    if !lua.has_room(8) {
        return Err(Raise::Text("stack overflow"));
    }
    match lua.kind(-1) {
        kind::STRING => write_string(out(lua), lua.bytes(-1).unwrap_or_default()),
        kind::BOOLEAN => out(lua).push(0xc2 + u8::from(lua.boolean(-1))),
        kind::NUMBER => write_number(out(lua), lua.number(-1)),
        kind::TABLE if depth < MOST_DEPTH => write_table(lua, depth)?,
        _ => out(lua).push(0xc0),
    }
    lua.pop(1);
    Ok(())
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        len @ 0..=31 => out.push(0xa0 | len as u8),
        len @ 32..=255 => out.extend_from_slice(&[0xd9, len as u8]),
        len => write_length(out, 0xda, len),
    }
    out.extend_from_slice(text);
}

/// Writes a length of two bytes behind `short`, or of four behind the next.
fn write_length(out: &mut Vec<u8>, short: u8, len: usize) {
    match u16::try_from(len) {
        Ok(len) => {
            out.push(short);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(short + 1);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: f64) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.floor() == number && (-LIMIT..LIMIT).contains(&number) {
        return write_integer(out, number as i64);
    }
    let short = number as f32;
    if f64::from(short) == number {
        out.push(0xca);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    let (kind, bytes) = match value {
        -32..=127 => {
            out.push(value as u8);
            return;
        }
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -0x8000..=-129 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

/// Writes the table on top, as an array if its keys are 1 to their number.
fn write_table(lua: Lua, depth: i32) -> Result<(), Raise> {
    let (mut most, mut items, mut whole) = (0.0_f64, 0_usize, true);
    lua.push_nil();
    while lua.next(-2) {
        building_turn(lua)?;
        lua.pop(1);
        let key = lua.number(-1);
        if lua.kind(-1) != kind::NUMBER || key <= 0.0 || key.floor() != key {
            whole = false;
        }
        most = most.max(key);
        items += 1;
    }
    if whole && most == items as f64 {
        match items {
            0..=15 => out(lua).push(0x90 | items as u8),
            items => write_length(out(lua), 0xdc, items),
        }
        for number in 1..=items {
            lua.raw_get_at(-1, number as i32);
            write_value(lua, depth + 1)?;
        }
        return Ok(());
    }
    match items {
        0..=15 => out(lua).push(0x80 | items as u8),
        items => write_length(out(lua), 0xde, items),
    }
    lua.push_nil();
    while lua.next(-2) {
        lua.push_copy(-2);
        write_value(lua, depth + 1)?;
        write_value(lua, depth + 1)?;
    }
    Ok(())
}

fn unpack(lua: Lua) -> Native {
    unpack_some(lua, i64::from(i32::MAX), 0, true)
}

fn unpack_one(lua: Lua) -> Native {
    let offset = lua.integer_or(2, 0)?;
    lua.set_top(1);
    unpack_some(lua, 1, offset, false)
}

fn unpack_limit(lua: Lua) -> Native {
    let limit = lua.check_integer(2)?;
    let offset = lua.integer_or(3, 0)?;
    lua.set_top(1);
    // Nothing asked for means everything.
    match (limit, offset) {
        (0, 0) => unpack_some(lua, i64::from(i32::MAX), 0, true),
        _ => unpack_some(lua, limit, offset, false),
    }
}

fn unpack_some(lua: Lua, limit: i64, offset: i64, all: bool) -> Native {
    let input: &'static [u8] = lua.check_bytes(1)?;
    let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
    let texts = if offset < 0 || limit < 0 {
        Some([
            "Invalid request to unpack with offset of ",
            first.format(offset),
            " and limit of ",
            second.format(input.len()),
        ])
    } else if offset as u64 > input.len() as u64 {
        Some([
            "Start offset ",
            first.format(offset),
            " greater than input length ",
            second.format(input.len()),
        ])
    } else {
        None
    };
    if let Some(texts) = texts {
        lua.push_place(1);
        for text in texts {
            lua.push_bytes(text.as_bytes());
        }
        lua.push_bytes(b".");
        lua.concat(6);
        return Err(Raise::Top);
    }
    let mut rest = &input[offset as usize..];
    let mut count = 0;
    if !all {
        lua.push_nil();
    }
    while !rest.is_empty() && i64::from(count) < limit {
        if !lua.has_room(8) {
            return Err(Raise::Text("stack overflow"));
        }
        rest = push_value(lua, rest)?;
        count += 1;
    }
    if !all {
        let next = match rest.is_empty() {
            true => -1.0,
            false => (input.len() - rest.len()) as f64,
        };
        lua.push_number(next);
        lua.replace(2);
        count += 1;
    }
    Ok(count)
}

type Input = &'static [u8];

fn take(input: Input, len: usize) -> Result<(Input, Input), Raise> {
    input.split_at_checked(len).ok_or(Raise::Text(MISSING))
}

/// A big-endian integer of up to eight bytes.
fn unsigned(input: Input, bytes: usize) -> Result<(u64, Input), Raise> {
    let (head, rest) = take(input, bytes)?;
    let value = head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok((value, rest))
}

/// Pushes the first value; gives what follows it.
fn push_value(lua: Lua, input: Input) -> Result<Input, Raise> {
    turn(lua)?;
    let (&first, rest) = input.split_first().ok_or(Raise::Text(MISSING))?;
    match first {
        0x00..=0x7f => lua.push_number(f64::from(first)),
        0xe0..=0xff => lua.push_number(f64::from(first as i8)),
        0x80..=0x8f => return push_map(lua, usize::from(first & 15), rest),
        0x90..=0x9f => return push_items(lua, usize::from(first & 15), rest),
        0xa0..=0xbf => return push_string(lua, usize::from(first & 31), rest),
        0xc0 => lua.push_nil(),
        0xc2 | 0xc3 => lua.push_boolean(first == 0xc3),
        0xca => {
            let (bits, rest) = unsigned(rest, 4)?;
            lua.push_number(f64::from(f32::from_bits(bits as u32)));
            return Ok(rest);
        }
        0xcb => {
            let (bits, rest) = unsigned(rest, 8)?;
            lua.push_number(f64::from_bits(bits));
            return Ok(rest);
        }
        0xcc..=0xcf => {
            let (value, rest) = unsigned(rest, 1 << (first - 0xcc))?;
            lua.push_number(value as f64);
            return Ok(rest);
        }
        0xd0..=0xd3 => {
            let bytes = 1 << (first - 0xd0);
            let (value, rest) = unsigned(rest, bytes)?;
            let unused = 64 - 8 * bytes as u32;
            lua.push_number(((value << unused) as i64 >> unused) as f64);
            return Ok(rest);
        }
        0xc4..=0xc6 | 0xd9..=0xdb | 0xdc | 0xdd | 0xde | 0xdf => {
            return push_long(lua, first, rest);
        }
        _ => return Err(Raise::Text(BAD)),
    }
    Ok(rest)
}

/// Pushes what has its length in bytes of its own.
fn push_long(lua: Lua, first: u8, rest: Input) -> Result<Input, Raise> {
    let bytes = match first {
        0xc4 | 0xd9 => 1,
        0xc5 | 0xda | 0xdc | 0xde => 2,
        _ => 4,
    };
    let (len, rest) = unsigned(rest, bytes)?;
    match first {
        0xdc | 0xdd => push_items(lua, len as usize, rest),
        0xde | 0xdf => push_map(lua, len as usize, rest),
        _ => push_string(lua, len as usize, rest),
    }
}

fn push_string(lua: Lua, len: usize, rest: Input) -> Result<Input, Raise> {
    let (text, rest) = take(rest, len)?;
    lua.push_bytes(text);
    Ok(rest)
}

fn push_items(lua: Lua, len: usize, rest: Input) -> Result<Input, Raise> {
    let mut rest = rest;
    if !lua.has_room(8) {
        return Err(Raise::Text("stack overflow"));
    }
    // A length alone reserves nothing beyond what the input can hold.
    lua.new_table(len.min(rest.len()), 0);
    for number in 1..=len {
        rest = push_value(lua, rest)?;
        lua.raw_set_at(-2, number as i32);
    }
    Ok(rest)
}

fn push_map(lua: Lua, len: usize, rest: Input) -> Result<Input, Raise> {
    let mut rest = rest;
    if !lua.has_room(8) {
        return Err(Raise::Text("stack overflow"));
    }
    lua.new_table(0, len.min(rest.len()));
    for _ in 0..len {
        rest = push_value(lua, rest)?;
        rest = push_value(lua, rest)?;
        match lua.kind(-2) {
            kind::NIL => return Err(Raise::Text("table index is nil")),
            kind::NUMBER if lua.number(-2).is_nan() => {
                return Err(Raise::Text("table index is NaN"));
            }
            _ => lua.raw_set(-3),
        }
    }
    Ok(rest)
}
