//! `string.find`, `match`, `gmatch` (once called `gfind`) and `gsub`, on the
//! matcher of `pattern.rs`.

use mlua_sys as ffi;

use super::lua::{Entry, Lua, Native, Raise, kind, native};
use super::pattern::Matcher;

/// Puts the functions into the table on top. Raises.
pub fn replace(lua: Lua) {
    let functions: [(&str, Entry); 5] = [
        ("find", native!(find)),
        ("match", native!(match_first)),
        ("gmatch", native!(gmatch)),
        ("gfind", native!(gmatch)),
        ("gsub", native!(gsub)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
}

/// Where a search begins: counted from the end if negative.
fn position(lua: Lua, at: i32, len: usize) -> Result<usize, Raise> {
    let given = lua.integer_or(at, 1)?;
    let from = match given < 0 {
        true => given.saturating_add(len as i64 + 1).max(1),
        false => given.max(1),
    };
    Ok(usize::try_from(from - 1).unwrap_or(len).min(len))
}

fn find(lua: Lua) -> Native {
    search(lua, true)
}

fn match_first(lua: Lua) -> Native {
    search(lua, false)
}

fn search(lua: Lua, find: bool) -> Native {
    let subject: &'static [u8] = lua.check_bytes(1)?;
    let pattern: &'static [u8] = lua.check_bytes(2)?;
    let from = position(lua, 3, subject.len())?;
    let special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    if find && (lua.boolean(4) || !pattern.iter().any(special)) {
        let Some(at) = memchr::memmem::find(&subject[from..], pattern) else {
            lua.push_nil();
            return Ok(1);
        };
        lua.push_number((from + at + 1) as f64);
        lua.push_number((from + at + pattern.len()) as f64);
        return Ok(2);
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, subject, pattern);
    for start in from..=subject.len() {
        if let Some(end) = matcher.begin(start, usize::from(anchored))? {
            if !find {
                return matcher.push_captures(start, end, true);
            }
            lua.push_number((start + 1) as f64);
            lua.push_number(end as f64);
            return Ok(matcher.push_captures(start, end, false)? + 2);
        }
        if anchored {
            break;
        }
    }
    lua.push_nil();
    Ok(1)
}

fn gmatch(lua: Lua) -> Native {
    lua.check_bytes(1)?;
    lua.check_bytes(2)?;
    lua.set_top(2);
    lua.push_number(0.0);
    lua.push_function(native!(gmatch_next), 3);
    Ok(1)
}

fn gmatch_next(lua: Lua) -> Native {
    let subject: &'static [u8] = lua.bytes(lua.upvalue(1)).unwrap_or_default();
    let pattern: &'static [u8] = lua.bytes(lua.upvalue(2)).unwrap_or_default();
    let from = lua.number(lua.upvalue(3)) as usize;
    let mut matcher = Matcher::new(lua, subject, pattern);
    for start in from..=subject.len() {
        if let Some(end) = matcher.begin(start, 0)? {
            let next = if end == start { end + 1 } else { end };
            lua.push_number(next as f64);
            lua.replace(lua.upvalue(3));
            return matcher.push_captures(start, end, true);
        }
    }
    Ok(0)
}

fn gsub(lua: Lua) -> Native {
    let subject: &'static [u8] = lua.check_bytes(1)?;
    let pattern: &'static [u8] = lua.check_bytes(2)?;
    if !matches!(
        lua.kind(3),
        kind::NUMBER | kind::STRING | kind::FUNCTION | kind::TABLE
    ) {
        return Err(Raise::Argument(3, "string/function/table expected"));
    }
    let most = lua.integer_or(4, subject.len() as i64 + 1)?;
    if lua.kind(3) == kind::NUMBER {
        lua.bytes(3);
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, subject, pattern);
    // Lua's own buffer: it owns nothing that an error would leave behind.
    let mut buffer = std::mem::MaybeUninit::<ffi::luaL_Buffer>::uninit();
    let buffer = buffer.as_mut_ptr();
    // SAFETY: the buffer is this frame's, and used as the manual asks for.
    unsafe { ffi::luaL_buffinit(lua.raw(), buffer) };
    let (mut at, mut count) = (0, 0);
    while count < most {
        let found = matcher.begin(at, usize::from(anchored))?;
        if let Some(end) = found {
            count += 1;
            add_replacement(lua, &matcher, buffer, at, end)?;
        }
        match found {
            Some(end) if end > at => at = end,
            _ if at < subject.len() => {
                add(buffer, &subject[at..=at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    add(buffer, &subject[at..]);
    // SAFETY: as above.
    unsafe { ffi::luaL_pushresult(buffer) };
    lua.push_number(count as f64);
    Ok(2)
}

/// Appends bytes to the buffer. Raises.
fn add(buffer: *mut ffi::luaL_Buffer, bytes: &[u8]) {
    // SAFETY: the buffer was begun by `gsub`, whose frame is alive.
    unsafe { ffi::luaL_addlstring(buffer, bytes.as_ptr().cast(), bytes.len()) }
}

/// Appends what takes the place of a match. Raises.
fn add_replacement(
    lua: Lua,
    matcher: &Matcher,
    buffer: *mut ffi::luaL_Buffer,
    start: usize,
    end: usize,
) -> Result<(), Raise> {
    match lua.kind(3) {
        kind::FUNCTION => {
            lua.push_copy(3);
            let arguments = matcher.push_captures(start, end, true)?;
            lua.call(arguments, 1);
        }
        kind::TABLE => {
            matcher.push_capture(0, start, end)?;
            // SAFETY: the value at 3 is a table, the key is on top.
            unsafe { ffi::lua_gettable_(lua.raw(), 3) };
        }
        _ => return add_text(lua, matcher, buffer, start, end),
    }
    if !lua.boolean(-1) {
        lua.pop(1);
        lua.push_bytes(&matcher.subject[start..end]);
    } else if !lua.is_text(-1) {
        let kind = lua.kind_name(-1);
        lua.push_place(1);
        lua.push_bytes(b"invalid replacement value (a ");
        lua.push_bytes(kind.as_bytes());
        lua.push_bytes(b")");
        lua.concat(4);
        return Err(Raise::Top);
    }
    // SAFETY: the value on top is a string or a number.
    unsafe { ffi::luaL_addvalue(buffer) };
    Ok(())
}

/// Appends the replacement text, captures in it replaced. Raises.
fn add_text(
    lua: Lua,
    matcher: &Matcher,
    buffer: *mut ffi::luaL_Buffer,
    start: usize,
    end: usize,
) -> Result<(), Raise> {
    let text: &'static [u8] = lua.bytes(3).unwrap_or_default();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        add(buffer, &rest[..at]);
        match rest.get(at + 1) {
            Some(b'0') => add(buffer, &matcher.subject[start..end]),
            Some(digit) if digit.is_ascii_digit() => {
                matcher.push_capture(usize::from(digit - b'1'), start, end)?;
                // SAFETY: the value on top is a string or a number.
                unsafe { ffi::luaL_addvalue(buffer) };
            }
            Some(byte) => add(buffer, &[*byte]),
            None => {}
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    add(buffer, rest);
    Ok(())
}
