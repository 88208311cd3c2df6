//! Functions of Lua's own library that scripts get in another form: such as
//! know the stand-ins of `sandbox.rs`, compile no binary chunks, and leave the
//! collector alone.

use mlua_sys as ffi;

use super::engine::turn;
use super::lua::{ALL_RESULTS, Entry, Lua, Native, REGISTRY, Raise, kind, native};
use super::sandbox::{place, set_functions};

/// What a script gets that writes where it may not.
pub const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Puts the functions into the globals at `globals`. Raises.
pub fn replace_functions(lua: Lua, globals: i32) {
    for name in [
        "dofile", "loadfile", "print", "newproxy", "getfenv", "setfenv",
    ] {
        lua.push_nil();
        lua.raw_set_field(globals, name);
    }
    let own: [(&str, Entry); 11] = [
        ("pcall", native!(pcall)),
        ("load", native!(load)),
        ("loadstring", native!(load_string)),
        ("collectgarbage", native!(collect_garbage)),
        ("next", native!(next)),
        ("pairs", native!(pairs)),
        ("rawget", native!(raw_get)),
        ("rawset", native!(raw_set)),
        ("getmetatable", native!(get_metatable)),
        ("setmetatable", native!(set_metatable)),
        ("unpack", native!(unpack)),
    ];
    set_functions(lua, globals, &own);
    lua.raw_get_field(globals, "os");
    lua.raw_get_field(-1, "clock");
    lua.new_table(0, 1);
    lua.insert(-2);
    lua.raw_set_field(-2, "clock");
    lua.raw_set_field(globals, "os");
    lua.pop(1);
    lua.raw_get_field(globals, "table");
    set_functions(lua, -1, &[("insert", native!(table_insert))]);
    lua.pop(1);
    lua.raw_get_field(globals, "math");
    let random: [(&str, Entry); 2] = [
        ("random", native!(super::api::random)),
        ("randomseed", native!(super::api::random_seed)),
    ];
    set_functions(lua, -1, &random);
    lua.pop(1);
    lua.raw_get_field(globals, "string");
    super::strings::replace(lua);
    lua.pop(1);
}

/// Replaces the stand-in at `at` by what it stands for; whether it is one.
fn see_through(lua: Lua, at: i32) -> bool {
    let at = lua.absolute(at);
    if lua.kind(at) != kind::TABLE || !lua.push_metatable(at) {
        return false;
    }
    lua.pop(1);
    lua.raw_get_at(REGISTRY, place::REALS);
    lua.push_copy(at);
    lua.raw_get(-2);
    let real = lua.kind(-1) == kind::TABLE;
    if real {
        lua.replace(at);
        lua.pop(1);
        // The globals of functions change what they read from.
    } else {
        lua.pop(2);
    }
    real
}

fn is_stand_in(lua: Lua, at: i32) -> bool {
    lua.push_copy(at);
    let found = see_through(lua, -1);
    lua.pop(1);
    found
}

/// Stands for every write to a stand-in.
pub fn refuse_write(_: Lua) -> Native {
    Err(Raise::Text(READ_ONLY))
}

/// Stands for every read of a global that is not there.
pub fn no_such_global(lua: Lua) -> Native {
    lua.push_place(1);
    lua.push_bytes(b"Script attempted to access nonexistent global variable '");
    match lua.is_text(2) {
        true => lua.push_copy(2),
        false => lua.push_bytes(lua.kind_name(2).as_bytes()),
    }
    lua.push_bytes(b"'");
    lua.concat(4);
    Err(Raise::Top)
}

/// As Lua's, but an error that is a table with a field `err` comes as that
/// field.
fn pcall(lua: Lua) -> Native {
    if lua.top() == 0 {
        return Err(Raise::Argument(1, "value expected"));
    }
    lua.push_boolean(true);
    lua.insert(1);
    if lua.protected_call(lua.top() - 2, ALL_RESULTS, 0) {
        return Ok(lua.top());
    }
    if lua.kind(-1) == kind::TABLE {
        lua.raw_get_field(-1, "err");
        match lua.is_text(-1) {
            true => lua.remove(-2),
            false => lua.pop(1),
        }
    }
    lua.push_boolean(false);
    lua.insert(-2);
    Ok(2)
}

/// Compiles text only: never what was compiled before.
fn load_string(lua: Lua) -> Native {
    let source = lua.check_bytes(1)?;
    load_source(lua, source, 2)
}

fn load_source(lua: Lua, source: &[u8], name_at: i32) -> Native {
    let mut name = [0_u8; 64];
    let given = match lua.is_none_or_nil(name_at) {
        true => source,
        false => lua.check_bytes(name_at)?,
    };
    let len = given.len().min(name.len() - 1);
    name[..len].copy_from_slice(&given[..len]);
    let name = std::ffi::CStr::from_bytes_until_nul(&name).unwrap_or(c"?");
    if lua.load(source, name) {
        return Ok(1);
    }
    lua.push_nil();
    lua.insert(-2);
    Ok(2)
}

/// Gathers what a function gives piece by piece, and compiles it.
fn load(lua: Lua) -> Native {
    if lua.kind(1) != kind::FUNCTION {
        return Err(Raise::Type(1, "function"));
    }
    lua.set_top(2);
    lua.push_bytes(b"");
    loop {
        lua.push_copy(1);
        lua.call(0, 1);
        if lua.is_none_or_nil(-1) || (lua.kind(-1) == kind::STRING && lua.len(-1) == 0) {
            lua.pop(1);
            break;
        }
        if lua.kind(-1) != kind::STRING {
            return Err(Raise::Text("reader function must return a string"));
        }
        lua.concat(2);
    }
    let source = lua.bytes(3).unwrap_or_default();
    load_source(lua, source, 2)
}

/// Tells memory or collects; the collector itself is not a script's to stop.
fn collect_garbage(lua: Lua) -> Native {
    let what = match lua.is_none_or_nil(1) {
        true => b"collect".as_slice(),
        false => lua.check_bytes(1)?,
    };
    match what {
        b"collect" => lua.collect(ffi::LUA_GCCOLLECT, 0),
        b"step" => lua.collect(ffi::LUA_GCSTEP, 0),
        b"count" => {
            let kilobytes = f64::from(lua.collect(ffi::LUA_GCCOUNT, 0));
            let rest = f64::from(lua.collect(ffi::LUA_GCCOUNTB, 0));
            lua.push_number(kilobytes + rest / 1024.0);
            return Ok(1);
        }
        b"stop" | b"restart" | b"setpause" | b"setstepmul" => 0,
        _ => return Err(Raise::Argument(1, "invalid option")),
    };
    lua.push_number(0.0);
    Ok(1)
}

fn next(lua: Lua) -> Native {
    lua.check_table(1)?;
    lua.set_top(2);
    see_through(lua, 1);
    if lua.next(1) {
        return Ok(2);
    }
    lua.push_nil();
    Ok(1)
}

fn pairs(lua: Lua) -> Native {
    lua.check_table(1)?;
    lua.set_top(1);
    lua.push_function(native!(next), 0);
    lua.insert(1);
    lua.push_nil();
    Ok(3)
}

fn raw_get(lua: Lua) -> Native {
    lua.check_table(1)?;
    lua.set_top(2);
    see_through(lua, 1);
    lua.raw_get(1);
    Ok(1)
}

fn raw_set(lua: Lua) -> Native {
    lua.check_table(1)?;
    lua.set_top(3);
    if is_stand_in(lua, 1) {
        return Err(Raise::Text(READ_ONLY));
    }
    match lua.kind(2) {
        kind::NIL => return Err(Raise::Text("table index is nil")),
        kind::NUMBER if lua.number(2).is_nan() => return Err(Raise::Text("table index is NaN")),
        _ => {}
    }
    lua.raw_set(1);
    Ok(1)
}

fn get_metatable(lua: Lua) -> Native {
    if lua.kind(1) == kind::NONE {
        return Err(Raise::Argument(1, "value expected"));
    }
    if !lua.push_metatable(1) {
        lua.push_nil();
        return Ok(1);
    }
    lua.raw_get_at(REGISTRY, place::LOCKED);
    lua.push_copy(-2);
    lua.raw_get(-2);
    if lua.boolean(-1) {
        lua.raw_get_at(REGISTRY, place::NOTHING);
        return Ok(1);
    }
    lua.pop(2);
    lua.raw_get_field(-1, "__metatable");
    if lua.kind(-1) == kind::NIL {
        lua.pop(1);
    }
    Ok(1)
}

fn set_metatable(lua: Lua) -> Native {
    lua.check_table(1)?;
    if !matches!(lua.kind(2), kind::NIL | kind::TABLE) {
        return Err(Raise::Argument(2, "nil or table expected"));
    }
    lua.set_top(2);
    if is_stand_in(lua, 1) {
        return Err(Raise::Text(READ_ONLY));
    }
    if lua.push_metatable(1) {
        lua.raw_get_field(-1, "__metatable");
        if lua.kind(-1) != kind::NIL {
            return Err(Raise::Text("cannot change a protected metatable"));
        }
        lua.set_top(2);
    }
    lua.set_metatable(1);
    Ok(1)
}

/// As Lua's, whose count of the results overflows when they are very many; then
/// it would write beyond its stack.
fn unpack(lua: Lua) -> Native {
    lua.check_table(1)?;
    // Lua's own takes of a number what an `int` holds.
    let from = lua.integer_or(2, 1)? as i32;
    let to = match lua.is_none_or_nil(3) {
        true => i32::try_from(lua.len(1)).unwrap_or(i32::MAX),
        false => lua.check_integer(3)? as i32,
    };
    if from > to {
        return Ok(0);
    }
    let count = i64::from(to) - i64::from(from) + 1;
    match i32::try_from(count) {
        Ok(count) if lua.has_room(count) => {
            (from..=to).for_each(|at| lua.raw_get_at(1, at));
            Ok(count)
        }
        _ => Err(Raise::Text("too many results to unpack")),
    }
}

fn table_insert(lua: Lua) -> Native {
    lua.check_table(1)?;
    if is_stand_in(lua, 1) {
        return Err(Raise::Text(READ_ONLY));
    }
    let end = i32::try_from(lua.len(1)).unwrap_or(i32::MAX - 1) + 1;
    let at = match lua.top() {
        2 => end,
        3 => {
            let at = lua
                .check_integer(2)?
                .clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            let mut to = end.max(at);
            while to > at {
                turn(lua)?;
                lua.raw_get_at(1, to - 1);
                lua.raw_set_at(1, to);
                to -= 1;
            }
            at
        }
        _ => return Err(Raise::Text("wrong number of arguments to 'insert'")),
    };
    lua.raw_set_at(1, at);
    Ok(0)
}

/// Makes a table of any error, with the place where it came up.
pub fn handle_error(lua: Lua) -> Native {
    lua.set_top(1);
    if lua.kind(1) != kind::TABLE {
        lua.new_table(0, 3);
        lua.push_bytes(b"ERR ");
        match lua.kind(1) {
            kind::STRING | kind::NUMBER => lua.push_copy(1),
            kind::BOOLEAN if lua.boolean(1) => lua.push_bytes(b"true"),
            kind::BOOLEAN => lua.push_bytes(b"false"),
            _ => lua.push_bytes(lua.kind_name(1).as_bytes()),
        }
        lua.concat(2);
        lua.raw_set_field(-2, "err");
    } else if lua.push_metatable(1) {
        // Perhaps not one to write into.
        lua.pop(1);
        lua.new_table(0, 3);
        lua.raw_get_field(1, "err");
        lua.raw_set_field(-2, "err");
    }
    // SAFETY: the record is filled by lua_getstack and lua_getinfo, and read
    // only where they say so.
    unsafe {
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        let mut found = ffi::lua_getstack(lua.raw(), 1, &raw mut record) != 0
            && ffi::lua_getinfo(lua.raw(), c"Sl".as_ptr(), &raw mut record) != 0;
        if found && *record.what == b'C' as std::ffi::c_char {
            found = ffi::lua_getstack(lua.raw(), 2, &raw mut record) != 0
                && ffi::lua_getinfo(lua.raw(), c"Sl".as_ptr(), &raw mut record) != 0;
        }
        if found {
            let source = std::ffi::CStr::from_ptr(record.source).to_bytes();
            lua.push_bytes(source);
            lua.raw_set_field(-2, "source");
            lua.push_number(f64::from(record.currentline));
            lua.raw_set_field(-2, "line");
        }
    }
    Ok(1)
}
