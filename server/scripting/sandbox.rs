//! What scripts see: Lua's own library without what reaches the outside, the
//! server's interface and the field's libraries; and that scripts cannot
//! change any of it for those that come after.
//!
//! Lua 5.1 has no tables that cannot be written, so scripts see a stand-in for
//! each: an empty table whose metatable reads from the real one and refuses
//! writes. The functions that would go around metatables (`rawset`, `next`,
//! `getmetatable`, ...) are replaced by such as know the stand-ins.

use std::ffi::c_int;

use mlua_sys as ffi;

use super::lua::{
    ALL_RESULTS, Entry, GLOBALS, Lua, Native, REGISTRY, Raise, kind, lua_State, native,
};

/// Places in the registry, below those that `luaL_ref` gives out.
mod place {
    /// Stand-in → real table.
    pub const REALS: i32 = -1;
    /// Metatables that scripts don't get to see.
    pub const LOCKED: i32 = -2;
    /// The real globals of scripts.
    pub const GLOBALS: i32 = -3;
    /// The stand-in for the globals of functions.
    pub const FUNCTION_GLOBALS: i32 = -4;
    /// What functions see of globals.
    pub const FUNCTION_REAL: i32 = -5;
    /// What a library sees while it is loaded.
    pub const LOAD_REAL: i32 = -6;
    /// A stand-in for nothing.
    pub const NOTHING: i32 = -7;
}

const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Fills a fresh state. Gives the place of the error handler; None when there
/// is no memory for it.
pub fn build(lua: Lua) -> Option<i32> {
    let mut handler = 0;
    let done = lua.protected(native!(build_protected), (&raw mut handler).cast());
    done.then_some(handler)
}

fn build_protected(lua: Lua) -> Native {
    let handler_place = lua.pointer(1).cast::<i32>();
    for place in [place::REALS, place::LOCKED] {
        lua.new_table(0, 16);
        lua.raw_set_at(REGISTRY, place);
    }
    open_libraries(lua);
    lua.push_copy(GLOBALS);
    let globals = lua.top();
    replace_functions(lua, globals);
    super::api::add(lua, globals);
    for (name, build) in [
        ("cjson", super::json::build as fn(Lua)),
        ("cmsgpack", super::msgpack::build),
        ("struct", super::pack::build),
        ("bit", super::bits::build),
    ] {
        build(lua);
        lua.raw_set_field(globals, name);
    }
    lua.new_table(0, 0);
    stand_in(lua);
    lua.raw_set_at(REGISTRY, place::NOTHING);
    for name in [
        "string",
        "table",
        "math",
        "os",
        "coroutine",
        "redis",
        "cjson",
        "cmsgpack",
        "struct",
        "bit",
    ] {
        lua.raw_get_field(globals, name);
        stand_in(lua);
        lua.raw_set_field(globals, name);
    }
    lua.raw_get_field(globals, "redis");
    lua.raw_set_field(globals, "server");
    lock_string_metatable(lua, globals);
    build_globals(lua, globals);
    lua.push_function(native!(handle_error), 0);
    let handler = lua.keep();
    // SAFETY: `build` passes the address of its variable.
    unsafe { *handler_place = handler };
    lua.set_top(0);
    lua.collect(ffi::LUA_GCCOLLECT, 0);
    Ok(0)
}

fn open_libraries(lua: Lua) {
    let libraries: [(&str, unsafe extern "C-unwind" fn(*mut lua_State) -> c_int); 5] = [
        ("", ffi::luaopen_base),
        ("table", ffi::luaopen_table),
        ("string", ffi::luaopen_string),
        ("math", ffi::luaopen_math),
        ("os", ffi::luaopen_os),
    ];
    for (name, open) in libraries {
        lua.push_function(open, 0);
        lua.push_bytes(name.as_bytes());
        lua.call(1, 0);
    }
}

/// Sets functions as fields of the table at `table`.
pub fn set_functions(lua: Lua, table: i32, functions: &[(&str, Entry)]) {
    let table = lua.absolute(table);
    for (name, function) in functions {
        lua.push_function(*function, 0);
        lua.raw_set_field(table, name);
    }
}

fn replace_functions(lua: Lua, globals: i32) {
    for name in [
        "dofile", "loadfile", "print", "newproxy", "getfenv", "setfenv",
    ] {
        lua.push_nil();
        lua.raw_set_field(globals, name);
    }
    let own: [(&str, Entry); 10] = [
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
    super::pattern::replace(lua);
    lua.pop(1);
}

/// Replaces the table on top by a stand-in for it.
fn stand_in(lua: Lua) {
    lua.new_table(0, 0);
    lua.new_table(0, 2);
    lua.push_copy(-3);
    lua.raw_set_field(-2, "__index");
    lua.push_function(native!(refuse_write), 0);
    lua.raw_set_field(-2, "__newindex");
    lock_metatable(lua);
    lua.set_metatable(-2);
    lua.raw_get_at(REGISTRY, place::REALS);
    lua.push_copy(-2);
    lua.push_copy(-4);
    lua.raw_set(-3);
    lua.pop(1);
    lua.remove(-2);
}

/// Hides the metatable on top from scripts.
fn lock_metatable(lua: Lua) {
    lua.raw_get_at(REGISTRY, place::LOCKED);
    lua.push_copy(-2);
    lua.push_boolean(true);
    lua.raw_set(-3);
    lua.pop(1);
}

/// Methods of strings come from the stand-in as well.
fn lock_string_metatable(lua: Lua, globals: i32) {
    lua.push_bytes(b"");
    lua.push_metatable(-1);
    lua.raw_get_field(globals, "string");
    lua.raw_set_field(-2, "__index");
    lock_metatable(lua);
    lua.pop(2);
}

/// Has reads of what is not in the table on top end in an error.
fn set_strict(lua: Lua) {
    lua.new_table(0, 1);
    lua.push_function(native!(no_such_global), 0);
    lua.raw_set_field(-2, "__index");
    lock_metatable(lua);
    lua.set_metatable(-2);
}

/// Makes the globals of scripts, of functions, and of libraries being loaded.
fn build_globals(lua: Lua, globals: i32) {
    // What functions see: the same things, in a table of their own.
    lua.new_table(0, 64);
    let functions = lua.top();
    lua.push_nil();
    while lua.next(globals) {
        lua.push_copy(-2);
        lua.insert(-2);
        lua.raw_set(functions);
    }
    for (table, real, seen) in [
        (globals, place::GLOBALS, 0),
        (functions, place::FUNCTION_REAL, place::FUNCTION_GLOBALS),
    ] {
        lua.push_copy(table);
        set_strict(lua);
        stand_in(lua);
        lua.push_copy(-1);
        lua.raw_set_field(table, "_G");
        lua.push_copy(table);
        lua.raw_set_at(REGISTRY, real);
        match seen {
            // SAFETY: the value on top is a table.
            0 => unsafe { ffi::lua_replace(lua.raw(), GLOBALS) },
            seen => lua.raw_set_at(REGISTRY, seen),
        }
    }
    // What a library sees while it is loaded.
    super::register::build_interface(lua);
    set_strict(lua);
    stand_in(lua);
    lua.new_table(0, 2);
    for name in ["redis", "server"] {
        lua.push_copy(-2);
        lua.raw_set_field(-2, name);
    }
    set_strict(lua);
    lua.raw_set_at(REGISTRY, place::LOAD_REAL);
}

/// Gives the function on top the globals of functions.
pub fn use_function_globals(lua: Lua) {
    lua.raw_get_at(REGISTRY, place::FUNCTION_GLOBALS);
    lua.set_globals_of(-2);
}

/// Has the globals of functions read from what a library being loaded may
/// see, or from what functions see.
pub fn show_load_interface(lua: Lua, loading: bool) {
    lua.raw_get_at(REGISTRY, place::FUNCTION_GLOBALS);
    lua.push_metatable(-1);
    let real = match loading {
        true => place::LOAD_REAL,
        false => place::FUNCTION_REAL,
    };
    lua.raw_get_at(REGISTRY, real);
    lua.raw_set_field(-2, "__index");
    lua.pop(2);
}

/// Pops a value into a global of scripts. Raises.
pub fn set_global(lua: Lua, name: &str) {
    lua.raw_get_at(REGISTRY, place::GLOBALS);
    lua.insert(-2);
    lua.raw_set_field(-2, name);
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

fn refuse_write(_: Lua) -> Native {
    Err(Raise::Text(READ_ONLY))
}

fn no_such_global(lua: Lua) -> Native {
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
fn handle_error(lua: Lua) -> Native {
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
