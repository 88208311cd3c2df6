//! Loading a library: its text runs once and registers its functions.

use std::time::{Duration, Instant};

use super::engine::{Engine, owner};
use super::library::{BAD_NAME, Function, is_name};
use super::lua::{Lua, Native, Raise, kind, native};
use super::protect::{clear_hook, set_hook};
use super::run::Flags;

/// Loading takes no longer than this. Source: Valkey.
const PATIENCE: Duration = Duration::from_millis(500);

/// A load under way.
pub struct Load {
    functions: Vec<(Function, i32)>,
    deadline: Option<Instant>,
}

/// What a library registered: its functions with their places in the registry.
pub type Registered = Vec<(Function, i32)>;

/// Pushes what a library sees of the server while it is loaded. Raises.
pub fn build_interface(lua: Lua) {
    lua.new_table(0, 16);
    super::sandbox::set_functions(
        lua,
        -1,
        &[("register_function", native!(register_function))],
    );
    super::api::add_shared(lua);
}

/// Runs a library's text, whose first line is taken off. `in_time`: refuse
/// one that takes too long.
pub fn load(engine: &mut Engine, text: &[u8], in_time: bool) -> Result<Registered, String> {
    let function = engine
        .compile_text(text, c"@user_function")
        .map_err(|text| format!("Error compiling function: {text}"))?;
    let lua = engine.lua();
    engine.owner().load = Some(Load {
        functions: Vec::new(),
        deadline: in_time.then(|| Instant::now() + PATIENCE),
    });
    set_hook(lua, false);
    let mut function_place = function;
    let place = (&raw mut function_place).cast();
    let done = engine.on_stack(|engine| engine.lua().protected(native!(load_job), place));
    clear_hook(lua);
    super::sandbox::show_load_interface(lua, false);
    lua.forget(function);
    let load = engine.owner().load.take();
    let functions = load.map(|load| load.functions).unwrap_or_default();
    let refusal = match done {
        Some(true) => match check_names(&functions) {
            Ok(()) => return Ok(functions),
            Err(text) => text,
        },
        Some(false) => format!("Error registering functions: {}", failure(lua)),
        None => "Error registering functions: ERR no memory for a script's stack".to_string(),
    };
    forget(engine, &functions);
    Err(refusal)
}

/// Whether the functions of a library have names, and each its own.
fn check_names(functions: &Registered) -> Result<(), String> {
    if functions.is_empty() {
        return Err("No functions registered".to_string());
    }
    let mut seen = std::collections::HashSet::new();
    for (function, _) in functions {
        if !is_name(function.name.as_bytes()) {
            return Err(format!("Function {BAD_NAME}"));
        }
        if !seen.insert(&function.name) {
            return Err("Function already exists in the library".to_string());
        }
    }
    Ok(())
}

/// Gives up functions that were registered.
pub fn forget(engine: &mut Engine, functions: &[(Function, i32)]) {
    for (_, place) in functions {
        engine.lua().forget(*place);
    }
}

/// The text of the error on top, which is popped.
fn failure(lua: Lua) -> String {
    let text = match lua.kind(-1) {
        kind::TABLE => {
            lua.raw_get_field(-1, "err");
            let text = lua
                .bytes(-1)
                .map(|b| String::from_utf8_lossy(b).into_owned());
            lua.pop(1);
            text
        }
        _ => lua
            .bytes(-1)
            .map(|bytes| format!("ERR {}", String::from_utf8_lossy(bytes))),
    };
    lua.pop(1);
    text.unwrap_or_else(|| "ERR unknown error".to_string())
}

fn load_job(lua: Lua) -> Native {
    // SAFETY: `load` passes the address of its variable.
    let function = unsafe { *lua.pointer(1).cast::<i32>() };
    lua.raw_get_at(super::lua::REGISTRY, function);
    super::sandbox::use_function_globals(lua);
    super::sandbox::show_load_interface(lua, true);
    lua.call(0, 0);
    Ok(0)
}

/// Ends a load that takes too long.
pub fn check_time(lua: Lua) -> Result<(), Raise> {
    let deadline = owner(lua).load.as_ref().and_then(|load| load.deadline);
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        set_hook(lua, true);
        return Err(Raise::Table("FUNCTION LOAD timeout"));
    }
    Ok(())
}

fn register_function(lua: Lua) -> Native {
    if owner(lua).load.is_none() {
        return Err(Raise::Table(
            "server.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    match lua.top() {
        1 => read_named(lua)?,
        2 => read_positional(lua)?,
        _ => {
            return Err(Raise::Table(
                "wrong number of arguments to server.register_function",
            ));
        }
    }
    // Now: name, callback, description or nil, flags or nil.
    let flags = read_flags(lua)?;
    let name = lua.bytes(1).unwrap_or_default();
    lua.push_copy(2);
    let place = lua.keep();
    let function = Function {
        name: String::from_utf8_lossy(name).into_owned(),
        description: match lua.kind(3) {
            kind::NIL => None,
            _ => lua.bytes(3).map(<[u8]>::to_vec),
        },
        flags,
    };
    if let Some(load) = &mut owner(lua).load {
        load.functions.push((function, place));
    }
    Ok(0)
}

fn read_positional(lua: Lua) -> Result<(), Raise> {
    if !lua.is_text(1) {
        return Err(Raise::Table(
            "first argument to server.register_function must be a string",
        ));
    }
    if lua.kind(2) != kind::FUNCTION {
        return Err(Raise::Table(
            "second argument to server.register_function must be a function",
        ));
    }
    lua.set_top(4);
    lua.bytes(1);
    Ok(())
}

/// Lays out a table's fields as positional arguments.
fn read_named(lua: Lua) -> Result<(), Raise> {
    if lua.kind(1) != kind::TABLE {
        return Err(Raise::Table(
            "calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ));
    }
    lua.insert(1);
    for _ in 0..4 {
        lua.push_nil();
    }
    // The table is at 1, its fields go to 2 to 5.
    lua.push_nil();
    while lua.next(1) {
        if !lua.is_text(-2) {
            return Err(Raise::Table(
                "named argument key given to server.register_function is not a string",
            ));
        }
        // A number is no field's name.
        let key = match lua.kind(-2) {
            kind::STRING => lua.bytes(-2).unwrap_or_default(),
            _ => b"",
        };
        let place = if key.eq_ignore_ascii_case(b"function_name") {
            named(
                lua.is_text(-1),
                2,
                "function_name argument given to server.register_function must be a string",
            )
        } else if key.eq_ignore_ascii_case(b"description") {
            named(
                lua.is_text(-1),
                4,
                "description argument given to server.register_function must be a string",
            )
        } else if key.eq_ignore_ascii_case(b"callback") {
            named(
                lua.kind(-1) == kind::FUNCTION,
                3,
                "callback argument given to server.register_function must be a function",
            )
        } else if key.eq_ignore_ascii_case(b"flags") {
            named(
                lua.kind(-1) == kind::TABLE,
                5,
                "flags argument to server.register_function must be a table representing function flags",
            )
        } else {
            Err(Raise::Table(
                "unknown argument given to server.register_function",
            ))
        };
        lua.replace(place?);
    }
    lua.remove(1);
    if lua.kind(1) == kind::NIL {
        return Err(Raise::Table(
            "server.register_function must get a function name argument",
        ));
    }
    if lua.kind(2) == kind::NIL {
        return Err(Raise::Table(
            "server.register_function must get a callback argument",
        ));
    }
    lua.bytes(1);
    Ok(())
}

fn named(fits: bool, place: i32, text: &'static str) -> Result<i32, Raise> {
    if fits {
        Ok(place)
    } else {
        Err(Raise::Table(text))
    }
}

fn read_flags(lua: Lua) -> Result<Flags, Raise> {
    let mut flags = Flags::default();
    if lua.kind(4) != kind::TABLE {
        return Ok(flags);
    }
    for number in 1.. {
        lua.raw_get_at(4, number);
        if lua.kind(-1) == kind::NIL {
            break;
        }
        let name = match lua.kind(-1) {
            kind::STRING => lua.bytes(-1).unwrap_or_default(),
            _ => b"",
        };
        let mut lower = [0_u8; 32];
        let known = lower.get_mut(..name.len()).is_some_and(|lower| {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            flags.set(lower)
        });
        if !known {
            return Err(Raise::Table("unknown flag given"));
        }
        lua.pop(1);
    }
    lua.set_top(4);
    Ok(flags)
}
