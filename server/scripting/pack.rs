//! The library `struct`: numbers and strings as the bytes of C structures.
//! Source: the documentation of the Lua `struct` library.
//!
//! | option | means |
//! |---|---|
//! | `>` `<` `=` | big, little, native endian |
//! | `!n` | align to n bytes (8 if left out) |
//! | `x` | a zero byte |
//! | `b` `B` `h` `H` `l` `L` `T` | integers of 1, 2, 8, 8 bytes; capital: unsigned |
//! | `in` `In` | integers of n bytes (4 if left out) |
//! | `f` `d` | floating point numbers |
//! | `cn` | a string of n bytes; `c0`: of the length read before |
//! | `s` | a string with a zero byte behind it |

use super::engine::{building_turn, owner};
use super::lua::{Entry, Lua, Native, Raise, kind, native};

const MOST_INTEGER: usize = 32;
const TOO_SHORT: &str = "data string too short";

/// Pushes the library. Raises.
pub fn build(lua: Lua) {
    lua.new_table(0, 4);
    let functions: [(&str, Entry); 3] = [
        ("pack", native!(pack)),
        ("unpack", native!(unpack)),
        ("size", native!(size)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
}

/// A format being read.
#[derive(Clone, Copy)]
struct Format {
    lua: Lua,
    rest: &'static [u8],
    big: bool,
    align: usize,
}

/// One option that takes room.
#[derive(Clone, Copy)]
struct Item {
    option: u8,
    size: usize,
    padding: usize,
}

impl Format {
    fn new(lua: Lua) -> Result<Format, Raise> {
        Ok(Format {
            lua,
            rest: lua.check_bytes(1)?,
            big: false,
            align: 1,
        })
    }

    fn number(&mut self, default: usize) -> Result<usize, Raise> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut value = 0_usize;
        for digit in text {
            value = value * 10 + usize::from(digit - b'0');
            if value > i32::MAX as usize {
                return Err(Raise::Text("integral size overflow"));
            }
        }
        Ok(value)
    }

    /// The next option that takes room in a structure of `so_far` bytes.
    fn next(&mut self, so_far: usize) -> Result<Option<Item>, Raise> {
        loop {
            let Some((&option, rest)) = self.rest.split_first() else {
                return Ok(None);
            };
            self.rest = rest;
            let size = match option {
                b' ' | b'=' => continue,
                b'>' | b'<' => {
                    self.big = option == b'>';
                    continue;
                }
                b'!' => {
                    self.align = self.number(8)?;
                    if !self.align.is_power_of_two() {
                        return Err(Raise::Text("alignment is not a power of 2"));
                    }
                    continue;
                }
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number(1)?,
                b's' => 0,
                b'i' | b'I' => self.integer_size()?,
                option => return Err(self.unknown(option)),
            };
            let padding = match option {
                b'c' | b's' => 0,
                _ => {
                    let to = size.min(self.align).next_power_of_two().max(1);
                    (to - so_far % to) % to
                }
            };
            return Ok(Some(Item {
                option,
                size,
                padding,
            }));
        }
    }

    fn integer_size(&mut self) -> Result<usize, Raise> {
        let size = self.number(4)?;
        if size <= MOST_INTEGER {
            return Ok(size);
        }
        let mut digits = itoa::Buffer::new();
        let lua = self.lua;
        lua.push_place(1);
        lua.push_bytes(b"integral size ");
        lua.push_bytes(digits.format(size).as_bytes());
        lua.push_bytes(b" is larger than limit of 32");
        lua.concat(4);
        Err(Raise::Top)
    }

    fn unknown(&self, option: u8) -> Raise {
        let lua = self.lua;
        lua.push_place(1);
        lua.push_bytes(b"bad argument #1 to '");
        lua.push_bytes(match lua.top() {
            _ if lua.is_none_or_nil(2) => b"size",
            _ => b"pack",
        });
        lua.push_bytes(b"' (invalid format option '");
        lua.push_bytes(&[option]);
        lua.push_bytes(b"')");
        lua.concat(6);
        Raise::Top
    }
}

fn pack(lua: Lua) -> Native {
    let mut format = Format::new(lua)?;
    owner(lua).scratch.clear();
    let mut argument = 2;
    while let Some(item) = format.next(owner(lua).scratch.len())? {
        building_turn(lua)?;
        let out = &mut owner(lua).scratch;
        out.extend(std::iter::repeat_n(0, item.padding));
        match item.option {
            b'x' => out.push(0),
            b'f' => put(
                out,
                format.big,
                &(lua.check_number(argument)? as f32).to_le_bytes(),
            ),
            b'd' => put(out, format.big, &lua.check_number(argument)?.to_le_bytes()),
            b'c' | b's' => put_string(lua, argument, item)?,
            _ => {
                let number = lua.check_number(argument)?;
                let value = match number < 0.0 {
                    true => number as i64 as u64,
                    false => number as u64,
                };
                let mut bytes = [0; MOST_INTEGER];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                put(&mut owner(lua).scratch, format.big, &bytes[..item.size]);
            }
        }
        if item.option != b'x' {
            argument += 1;
        }
    }
    lua.push_bytes(&owner(lua).scratch);
    Ok(1)
}

fn put(out: &mut Vec<u8>, big: bool, little_endian: &[u8]) {
    match big {
        true => out.extend(little_endian.iter().rev()),
        false => out.extend_from_slice(little_endian),
    }
}

fn put_string(lua: Lua, argument: i32, item: Item) -> Result<(), Raise> {
    let text = lua.check_bytes(argument)?;
    let len = if item.size == 0 {
        text.len()
    } else {
        item.size
    };
    let Some(text) = text.get(..len) else {
        return Err(Raise::Argument(argument, "string too short"));
    };
    let out = &mut owner(lua).scratch;
    out.extend_from_slice(text);
    if item.option == b's' {
        out.push(0);
    }
    Ok(())
}

fn unpack(lua: Lua) -> Native {
    let mut format = Format::new(lua)?;
    let data: &'static [u8] = lua.check_bytes(2)?;
    let start = lua.integer_or(3, 1)?;
    if start < 1 {
        return Err(Raise::Argument(3, "offset must be 1 or greater"));
    }
    let mut at = (start - 1) as usize;
    lua.set_top(2);
    while let Some(item) = format.next(at)? {
        at = at.saturating_add(item.padding);
        if !lua.has_room(4) {
            return Err(Raise::Text("too many results"));
        }
        let mut size = item.size;
        if item.option == b'c' && size == 0 {
            if lua.top() < 3 || lua.kind(-1) != kind::NUMBER {
                return Err(Raise::Text("format 'c0' needs a previous size"));
            }
            size = lua.number(-1).max(0.0) as usize;
            lua.pop(1);
        }
        let piece = data.get(at..).unwrap_or_default();
        if at > data.len() || size > piece.len() {
            return Err(Raise::Argument(2, TOO_SHORT));
        }
        match item.option {
            b'x' => {}
            b'f' => lua.push_number(f64::from(f32::from_le_bytes(array(piece, format.big)))),
            b'd' => lua.push_number(f64::from_le_bytes(array(piece, format.big))),
            b'c' => lua.push_bytes(&piece[..size]),
            b's' => {
                let Some(end) = memchr::memchr(0, piece) else {
                    return Err(Raise::Text("unfinished string in data"));
                };
                lua.push_bytes(&piece[..end]);
                size = end + 1;
            }
            option => lua.push_number(integer(&piece[..size], format.big, option)),
        }
        at += size;
    }
    lua.push_number((at + 1) as f64);
    Ok(lua.top() - 2)
}

/// The first bytes, in little-endian order.
fn array<const N: usize>(piece: &[u8], big: bool) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&piece[..N]);
    if big {
        bytes.reverse();
    }
    bytes
}

fn integer(piece: &[u8], big: bool, option: u8) -> f64 {
    let mut value = 0_u64;
    let low = piece.len().min(8);
    for index in 0..low {
        let byte = match big {
            true => piece[piece.len() - 1 - index],
            false => piece[index],
        };
        value |= u64::from(byte) << (8 * index);
    }
    if option.is_ascii_uppercase() || low == 0 {
        return value as f64;
    }
    let unused = 64 - 8 * low as u32;
    ((value << unused) as i64 >> unused) as f64
}

fn size(lua: Lua) -> Native {
    let mut format = Format::new(lua)?;
    let mut total = 0_usize;
    while let Some(item) = format.next(total)? {
        if item.option == b's' {
            return Err(Raise::Argument(1, "option 's' has no fixed size"));
        }
        if item.option == b'c' && item.size == 0 {
            return Err(Raise::Argument(1, "option 'c0' has no fixed size"));
        }
        total = total.saturating_add(item.padding).saturating_add(item.size);
    }
    lua.push_number(total as f64);
    Ok(1)
}
