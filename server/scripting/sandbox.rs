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

use super::lua::{Entry, GLOBALS, Lua, Native, REGISTRY, lua_State, native};

/// Places in the registry, below those that `luaL_ref` gives out.
pub mod place {
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
    /// The native function that calls a script.
    pub const CALL: i32 = -8;
    /// The name `KEYS`.
    pub const KEYS: i32 = -9;
    /// The name `ARGV`.
    pub const ARGV: i32 = -10;
}

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
    super::builtins::replace_functions(lua, globals);
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
    lua.push_function(native!(super::builtins::handle_error), 0);
    let handler = lua.keep();
    // SAFETY: `build` passes the address of its variable.
    unsafe { *handler_place = handler };
    lua.set_top(0);
    lua.push_function(native!(super::protect::call_job), 0);
    lua.raw_set_at(REGISTRY, place::CALL);
    for (name, place) in [("KEYS", place::KEYS), ("ARGV", place::ARGV)] {
        lua.push_bytes(name.as_bytes());
        lua.raw_set_at(REGISTRY, place);
    }
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

/// Replaces the table on top by a stand-in for it.
fn stand_in(lua: Lua) {
    lua.new_table(0, 0);
    lua.new_table(0, 2);
    lua.push_copy(-3);
    lua.raw_set_field(-2, "__index");
    lua.push_function(native!(super::builtins::refuse_write), 0);
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
    lua.push_function(native!(super::builtins::no_such_global), 0);
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

/// Pops the arguments and, below them, the keys of a script into its globals
/// of these names. Raises.
pub fn set_keys_and_arguments(lua: Lua) {
    lua.raw_get_at(REGISTRY, place::GLOBALS);
    for (name, value) in [(place::ARGV, -3), (place::KEYS, -4)] {
        lua.raw_get_at(REGISTRY, name);
        lua.push_copy(value);
        lua.raw_set(-3);
    }
    lua.pop(3);
}
