//! The library `bit`: operations on 32-bit integers. Source: the documentation
//! of Lua BitOp.

use super::lua::{Entry, Lua, Native, native};

/// Pushes the library. Raises.
pub fn build(lua: Lua) {
    lua.new_table(0, 16);
    let functions: [(&str, Entry); 12] = [
        ("tobit", native!(to_bit)),
        ("bnot", native!(not)),
        ("band", native!(and)),
        ("bor", native!(or)),
        ("bxor", native!(xor)),
        ("lshift", native!(shift_left)),
        ("rshift", native!(shift_right)),
        ("arshift", native!(shift_right_signed)),
        ("rol", native!(rotate_left)),
        ("ror", native!(rotate_right)),
        ("bswap", native!(swap)),
        ("tohex", native!(to_hex)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
}

/// An argument's low 32 bits; a fraction is rounded to the nearest, even.
fn bits(lua: Lua, at: i32) -> Result<i32, super::lua::Raise> {
    let number = lua.check_number(at)?;
    // The sum's mantissa ends where the integer does.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    Ok((number + SHIFT).to_bits() as i32)
}

fn give(lua: Lua, value: i32) -> Native {
    lua.push_number(f64::from(value));
    Ok(1)
}

fn to_bit(lua: Lua) -> Native {
    give(lua, bits(lua, 1)?)
}

fn not(lua: Lua) -> Native {
    give(lua, !bits(lua, 1)?)
}

fn fold(lua: Lua, f: fn(i32, i32) -> i32) -> Native {
    let mut value = bits(lua, 1)?;
    for at in 2..=lua.top() {
        value = f(value, bits(lua, at)?);
    }
    give(lua, value)
}

fn and(lua: Lua) -> Native {
    fold(lua, |a, b| a & b)
}

fn or(lua: Lua) -> Native {
    fold(lua, |a, b| a | b)
}

fn xor(lua: Lua) -> Native {
    fold(lua, |a, b| a ^ b)
}

fn shift(lua: Lua, f: fn(i32, u32) -> i32) -> Native {
    let value = bits(lua, 1)?;
    let by = bits(lua, 2)? as u32 & 31;
    give(lua, f(value, by))
}

fn shift_left(lua: Lua) -> Native {
    shift(lua, |value, by| value << by)
}

fn shift_right(lua: Lua) -> Native {
    shift(lua, |value, by| (value as u32 >> by) as i32)
}

fn shift_right_signed(lua: Lua) -> Native {
    shift(lua, |value, by| value >> by)
}

fn rotate_left(lua: Lua) -> Native {
    shift(lua, i32::rotate_left)
}

fn rotate_right(lua: Lua) -> Native {
    shift(lua, i32::rotate_right)
}

fn swap(lua: Lua) -> Native {
    give(lua, bits(lua, 1)?.swap_bytes())
}

fn to_hex(lua: Lua) -> Native {
    let value = bits(lua, 1)? as u32;
    let wanted = match lua.is_none_or_nil(2) {
        true => 8,
        false => bits(lua, 2)?,
    };
    let digits: &[u8; 16] = match wanted < 0 {
        true => b"0123456789ABCDEF",
        false => b"0123456789abcdef",
    };
    let count = wanted.unsigned_abs().min(8) as usize;
    let mut text = [0; 8];
    for (index, digit) in text.iter_mut().rev().take(count).enumerate() {
        *digit = digits[(value >> (4 * index)) as usize & 15];
    }
    lua.push_bytes(&text[8 - count..]);
    Ok(1)
}
