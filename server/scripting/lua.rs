//! A thin handle on a Lua 5.1 state: its C interface with Rust's types, no
//! more. What scripts may do is in `sandbox.rs` and `api.rs`.
//!
//! Rules for whoever uses it, for Lua raises errors with `longjmp`:
//!
//! - A call that can raise (marked *raises*) is made only inside a protected
//!   call, and from functions that own nothing at that moment: no `Vec`, no
//!   lock guard, no borrow of a `RefCell` in any frame between the call and
//!   the protected call. Buffers live in the engine instead.
//! - A native function returns `Err` to raise an error of its own; the
//!   wrapper raises it once the function's frame is gone.
//! - Bytes borrowed from the state are good while their value stays on the
//!   stack.

use std::ffi::{CStr, c_int, c_void};

use mlua_sys as ffi;
pub use mlua_sys::lua_State;

/// A state, or a coroutine of one, that lives as long as it is used.
#[derive(Clone, Copy)]
pub struct Lua(*mut lua_State);

/// What a native function gives: the number of results on top of the stack.
pub type Native = Result<i32, Raise>;

/// How a native function fails. Owns nothing.
#[derive(Clone, Copy, Debug)]
pub enum Raise {
    /// With a text, to which the place in the script is added.
    Text(&'static str),
    /// With a table whose field `err` is `ERR` and this text.
    Table(&'static str),
    /// With the value on top of the stack.
    Top,
    /// As `luaL_argerror` does: the number of an argument, and what is wrong
    /// with it.
    Argument(i32, &'static str),
    /// The argument of this number has not this type.
    Type(i32, &'static str),
}

/// The types of values.
pub mod kind {
    #![allow(missing_docs)]
    pub const NONE: i32 = mlua_sys::LUA_TNONE;
    pub const NIL: i32 = mlua_sys::LUA_TNIL;
    pub const BOOLEAN: i32 = mlua_sys::LUA_TBOOLEAN;
    pub const LIGHT_POINTER: i32 = mlua_sys::LUA_TLIGHTUSERDATA;
    pub const NUMBER: i32 = mlua_sys::LUA_TNUMBER;
    pub const STRING: i32 = mlua_sys::LUA_TSTRING;
    pub const TABLE: i32 = mlua_sys::LUA_TTABLE;
    pub const FUNCTION: i32 = mlua_sys::LUA_TFUNCTION;
}

/// The pseudo-index of the registry.
pub const REGISTRY: i32 = ffi::LUA_REGISTRYINDEX;
/// The pseudo-index of the table of globals.
pub const GLOBALS: i32 = ffi::LUA_GLOBALSINDEX;
/// As many results as there are.
pub const ALL_RESULTS: i32 = ffi::LUA_MULTRET;

/// The C function that runs a native one.
pub type Entry = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;

/// Makes a C function of a `fn(Lua) -> Native`.
macro_rules! native {
    ($function:path) => {{
        unsafe extern "C-unwind" fn entry(state: *mut $crate::scripting::lua::lua_State) -> i32 {
            $crate::scripting::lua::enter(state, $function)
        }
        entry as $crate::scripting::lua::Entry
    }};
}
pub(crate) use native;

/// Runs a native function for a C function, and raises its error.
pub fn enter(state: *mut lua_State, function: fn(Lua) -> Native) -> c_int {
    let lua = Lua(state);
    match function(lua) {
        Ok(results) => results,
        Err(error) => lua.raise(error),
    }
}

// SAFETY, for every block of this impl: the state is alive, by the contract
// of `from_raw`, and the arguments are such as the manual asks for; the
// callers keep the rules at the module's head.
impl Lua {
    /// A handle on a state that outlives it.
    ///
    /// # Safety
    ///
    /// The state is alive as long as the handle is used, by one thread at a
    /// time.
    pub unsafe fn from_raw(state: *mut lua_State) -> Lua {
        Lua(state)
    }

    /// The state.
    pub fn raw(self) -> *mut lua_State {
        self.0
    }

    /// How many values are on the stack.
    #[inline]
    pub fn top(self) -> i32 {
        unsafe { ffi::lua_gettop(self.0) }
    }

    /// Cuts the stack, or fills it with nil.
    #[inline]
    pub fn set_top(self, top: i32) {
        unsafe { ffi::lua_settop(self.0, top) }
    }

    /// Drops values from the top.
    #[inline]
    pub fn pop(self, count: i32) {
        self.set_top(-count - 1);
    }

    /// Whether there is room for more values. False beyond Lua's limit.
    #[inline]
    pub fn has_room(self, count: i32) -> bool {
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }

    /// Pushes a copy of a value.
    #[inline]
    pub fn push_copy(self, at: i32) {
        unsafe { ffi::lua_pushvalue(self.0, at) }
    }

    /// Moves the top value to a place, others up.
    pub fn insert(self, at: i32) {
        unsafe { ffi::lua_insert(self.0, at) }
    }

    /// Takes a value out.
    pub fn remove(self, at: i32) {
        unsafe { ffi::lua_remove(self.0, at) }
    }

    /// Pops the top value into a place.
    pub fn replace(self, at: i32) {
        unsafe { ffi::lua_replace(self.0, at) }
    }

    /// Pushes nil.
    #[inline]
    pub fn push_nil(self) {
        unsafe { ffi::lua_pushnil(self.0) }
    }

    /// Pushes a truth value.
    #[inline]
    pub fn push_boolean(self, value: bool) {
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(value)) }
    }

    /// Pushes a number.
    #[inline]
    pub fn push_number(self, value: f64) {
        unsafe { ffi::lua_pushnumber(self.0, value) }
    }

    /// Pushes a string. Raises.
    #[inline]
    pub fn push_bytes(self, bytes: &[u8]) {
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Pushes a function with as many upvalues as are popped. Raises.
    pub fn push_function(self, function: Entry, upvalues: i32) {
        unsafe { ffi::lua_pushcclosure(self.0, function, upvalues) }
    }

    /// Pushes a pointer.
    pub fn push_pointer(self, pointer: *mut c_void) {
        unsafe { ffi::lua_pushlightuserdata(self.0, pointer) }
    }

    /// Pushes an empty table with room. Raises.
    #[inline]
    pub fn new_table(self, array: usize, fields: usize) {
        const MOST: usize = 1 << 20;
        let (array, fields) = (array.min(MOST) as c_int, fields.min(MOST) as c_int);
        unsafe { ffi::lua_createtable(self.0, array, fields) }
    }

    /// The place of an upvalue of the running function.
    pub fn upvalue(self, number: i32) -> i32 {
        ffi::lua_upvalueindex(number)
    }

    /// The type of a value, one of [`kind`].
    #[inline]
    pub fn kind(self, at: i32) -> i32 {
        unsafe { ffi::lua_type(self.0, at) }
    }

    /// The name of a value's type.
    pub fn kind_name(self, at: i32) -> &'static str {
        let name = unsafe { CStr::from_ptr(ffi::lua_typename(self.0, self.kind(at))) };
        name.to_str().unwrap_or("?")
    }

    /// Whether a value is a string or a number.
    #[inline]
    pub fn is_text(self, at: i32) -> bool {
        matches!(self.kind(at), kind::STRING | kind::NUMBER)
    }

    /// Whether a value is nil or not there.
    pub fn is_none_or_nil(self, at: i32) -> bool {
        self.kind(at) <= kind::NIL
    }

    /// Whether a value is a native function.
    pub fn is_native(self, at: i32) -> bool {
        unsafe { ffi::lua_iscfunction(self.0, at) != 0 }
    }

    /// A truth value: false for nil and false.
    pub fn boolean(self, at: i32) -> bool {
        unsafe { ffi::lua_toboolean(self.0, at) != 0 }
    }

    /// A number, or 0 for what is none.
    #[inline]
    pub fn number(self, at: i32) -> f64 {
        unsafe { ffi::lua_tonumber(self.0, at) }
    }

    /// A number or a string that is one, else None.
    pub fn number_if(self, at: i32) -> Option<f64> {
        (unsafe { ffi::lua_isnumber(self.0, at) } != 0).then(|| self.number(at))
    }

    /// The bytes of a string; a number becomes one in place (raises then).
    /// None for other types.
    #[inline]
    pub fn bytes<'a>(self, at: i32) -> Option<&'a [u8]> {
        let mut len = 0;
        unsafe {
            let start = ffi::lua_tolstring(self.0, at, &raw mut len);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// An identity of a table, function or coroutine.
    pub fn identity(self, at: i32) -> *const c_void {
        unsafe { ffi::lua_topointer(self.0, at) }
    }

    /// The pointer in a light or full userdata.
    pub fn pointer(self, at: i32) -> *mut c_void {
        unsafe { ffi::lua_touserdata(self.0, at) }
    }

    /// The length of a string or table.
    #[inline]
    pub fn len(self, at: i32) -> usize {
        unsafe { ffi::lua_objlen(self.0, at) }
    }

    /// Whether two values are the same.
    pub fn same(self, one: i32, other: i32) -> bool {
        unsafe { ffi::lua_rawequal(self.0, one, other) != 0 }
    }

    /// Replaces the key on top by its value, without metamethods.
    #[inline]
    pub fn raw_get(self, table: i32) {
        unsafe { ffi::lua_rawget_(self.0, table) }
    }

    /// Pops a value and below it its key into a table, without metamethods.
    /// Raises.
    #[inline]
    pub fn raw_set(self, table: i32) {
        unsafe { ffi::lua_rawset(self.0, table) }
    }

    /// Pushes an element.
    #[inline]
    pub fn raw_get_at(self, table: i32, number: i32) {
        unsafe { ffi::lua_rawgeti_(self.0, table, number) }
    }

    /// Pops a value into an element. Raises.
    #[inline]
    pub fn raw_set_at(self, table: i32, number: i32) {
        unsafe { ffi::lua_rawseti_(self.0, table, number) }
    }

    /// Pushes a field, without metamethods. Raises.
    #[inline]
    pub fn raw_get_field(self, table: i32, name: &str) {
        let table = self.absolute(table);
        self.push_bytes(name.as_bytes());
        self.raw_get(table);
    }

    /// Pops a value into a field, without metamethods. Raises.
    pub fn raw_set_field(self, table: i32, name: &str) {
        let table = self.absolute(table);
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(table);
    }

    /// An index that stays right when the stack grows.
    pub fn absolute(self, at: i32) -> i32 {
        if at > 0 || at <= REGISTRY {
            at
        } else {
            self.top() + at + 1
        }
    }

    /// Pops a key; pushes the next one and its value unless it was the last.
    /// Raises on a key that is not in the table.
    pub fn next(self, table: i32) -> bool {
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// Pushes a value's metatable, if it has one.
    #[inline]
    pub fn push_metatable(self, at: i32) -> bool {
        unsafe { ffi::lua_getmetatable(self.0, at) != 0 }
    }

    /// Pops a metatable for a value.
    pub fn set_metatable(self, at: i32) {
        unsafe { ffi::lua_setmetatable(self.0, at) };
    }

    /// Pops a table of globals for a function or coroutine.
    pub fn set_globals_of(self, at: i32) -> bool {
        unsafe { ffi::lua_setfenv(self.0, at) != 0 }
    }

    /// Calls a function. Raises.
    pub fn call(self, arguments: i32, results: i32) {
        unsafe { ffi::lua_call(self.0, arguments, results) }
    }

    /// Calls a function; on an error false, and the error on the stack.
    pub fn protected_call(self, arguments: i32, results: i32, handler: i32) -> bool {
        unsafe { ffi::lua_pcall(self.0, arguments, results, handler) == 0 }
    }

    /// Runs a native function with a pointer, protected; on an error false,
    /// and the error on the stack.
    pub fn protected(self, function: Entry, argument: *mut c_void) -> bool {
        unsafe { ffi::lua_cpcall(self.0, function, argument) == 0 }
    }

    /// Compiles source text to a function, or gives the error on the stack.
    /// Compiled chunks are refused: they could break the interpreter.
    pub fn load(self, source: &[u8], name: &CStr) -> bool {
        if source.first() == Some(&0x1b) {
            self.push_bytes(b"attempt to load a binary chunk");
            return false;
        }
        let (start, len) = (source.as_ptr().cast(), source.len());
        unsafe { ffi::luaL_loadbuffer(self.0, start, len, name.as_ptr()) == 0 }
    }

    /// Pops a value into the registry; gives its number. Raises.
    pub fn keep(self) -> i32 {
        unsafe { ffi::luaL_ref(self.0, REGISTRY) }
    }

    /// Forgets what [`Lua::keep`] kept.
    pub fn forget(self, number: i32) {
        unsafe { ffi::luaL_unref(self.0, REGISTRY, number) }
    }

    /// Joins the values on top to one string. Raises.
    pub fn concat(self, count: i32) {
        unsafe { ffi::lua_concat(self.0, count) }
    }

    /// Pushes `chunk:line: ` of the function at a level, or an empty string.
    /// Raises.
    pub fn push_place(self, level: i32) {
        unsafe { ffi::luaL_where(self.0, level) }
    }

    /// Runs the collector, see `lua_gc` in the manual.
    pub fn collect(self, what: i32, data: i32) -> i32 {
        unsafe { ffi::lua_gc(self.0, what, data) }
    }

    /// The pointer that the allocator was given.
    #[inline]
    pub fn owner(self) -> *mut c_void {
        let mut owner = std::ptr::null_mut();
        unsafe { ffi::lua_getallocf(self.0, &raw mut owner) };
        owner
    }

    /// Raises an error, which ends the calling native function.
    fn raise(self, error: Raise) -> ! {
        match error {
            Raise::Text(text) => {
                self.push_place(1);
                self.push_bytes(text.as_bytes());
                self.concat(2);
            }
            Raise::Table(text) => super::convert::push_error_text(self, b"ERR", text.as_bytes()),
            Raise::Top => {}
            Raise::Argument(number, text) => self.raise_argument(number, text),
            Raise::Type(number, wanted) => {
                let has = match self.kind(number) {
                    kind::NONE => "no value",
                    _ => self.kind_name(number),
                };
                self.push_bytes(wanted.as_bytes());
                self.push_bytes(b" expected, got ");
                self.push_bytes(has.as_bytes());
                self.concat(3);
                let text: &'static [u8] = self.bytes(-1).unwrap_or_default();
                let text = std::str::from_utf8(text).unwrap_or_default();
                self.raise_argument(number, text);
            }
        }
        unsafe { ffi::lua_error(self.0) }
    }

    fn raise_argument(self, number: i32, text: &str) {
        let mut buffer = [0_u8; 256];
        let len = text.len().min(buffer.len() - 1);
        buffer[..len].copy_from_slice(&text.as_bytes()[..len]);
        unsafe { ffi::luaL_argerror(self.0, number, buffer.as_ptr().cast()) };
    }

    /// A string argument, else a type error. Raises.
    pub fn check_bytes<'a>(self, at: i32) -> Result<&'a [u8], Raise> {
        self.bytes(at).ok_or(Raise::Type(at, "string"))
    }

    /// A number argument, else a type error.
    pub fn check_number(self, at: i32) -> Result<f64, Raise> {
        self.number_if(at).ok_or(Raise::Type(at, "number"))
    }

    /// An integer argument, cut towards zero, else a type error.
    pub fn check_integer(self, at: i32) -> Result<i64, Raise> {
        self.check_number(at).map(|n| n as i64)
    }

    /// A table argument, else a type error.
    pub fn check_table(self, at: i32) -> Result<(), Raise> {
        match self.kind(at) {
            kind::TABLE => Ok(()),
            _ => Err(Raise::Type(at, "table")),
        }
    }

    /// An integer argument that may be missing.
    pub fn integer_or(self, at: i32, default: i64) -> Result<i64, Raise> {
        if self.is_none_or_nil(at) {
            return Ok(default);
        }
        self.check_integer(at)
    }
}
