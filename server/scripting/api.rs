//! The table `redis`, which is `server` too, and math.random.

use super::engine::{owner, run_of};
use super::lua::{Entry, Lua, Native, Raise, kind, native};
use crate::commands::table::table;
use crate::state::{REDIS_VERSION, VALKEY_VERSION};

const VALKEY_VERSION_NUMBER: f64 = 0x0009_0102 as f64;
const REDIS_VERSION_NUMBER: f64 = 0x0007_0204 as f64;
/// What `math.random` divides by.
const RANDOM_MAX: u64 = 0x7fff_ffff;

/// Adds the interface to the globals at `globals`. Raises.
pub fn add(lua: Lua, globals: i32) {
    lua.new_table(0, 32);
    let functions: [(&str, Entry); 10] = [
        ("call", native!(super::call::call)),
        ("pcall", native!(super::call::pcall)),
        ("setresp", native!(super::call::set_resp)),
        ("sha1hex", native!(sha1hex)),
        ("error_reply", native!(error_reply)),
        ("status_reply", native!(status_reply)),
        ("set_repl", native!(set_repl)),
        ("acl_check_cmd", native!(acl_check_cmd)),
        ("replicate_commands", native!(replicate_commands)),
        ("breakpoint", native!(breakpoint)),
    ];
    super::sandbox::set_functions(lua, -1, &functions);
    super::sandbox::set_functions(lua, -1, &[("debug", native!(debug))]);
    for (name, number) in [
        ("REPL_NONE", 0.0),
        ("REPL_AOF", 1.0),
        ("REPL_SLAVE", 2.0),
        ("REPL_REPLICA", 2.0),
        ("REPL_ALL", 3.0),
    ] {
        lua.push_number(number);
        lua.raw_set_field(-2, name);
    }
    add_shared(lua);
    lua.raw_set_field(globals, "redis");
}

/// Adds what libraries may use while they are loaded, too. Raises.
pub fn add_shared(lua: Lua) {
    super::sandbox::set_functions(lua, -1, &[("log", native!(log))]);
    for (name, number) in [
        ("LOG_DEBUG", 0.0),
        ("LOG_VERBOSE", 1.0),
        ("LOG_NOTICE", 2.0),
        ("LOG_WARNING", 3.0),
        ("REDIS_VERSION_NUM", REDIS_VERSION_NUMBER),
        ("VALKEY_VERSION_NUM", VALKEY_VERSION_NUMBER),
    ] {
        lua.push_number(number);
        lua.raw_set_field(-2, name);
    }
    for (name, text) in [
        ("REDIS_VERSION", REDIS_VERSION),
        ("VALKEY_VERSION", VALKEY_VERSION),
        ("SERVER_NAME", "redoubt"),
    ] {
        lua.push_bytes(text.as_bytes());
        lua.raw_set_field(-2, name);
    }
}

fn sha1hex(lua: Lua) -> Native {
    if lua.top() != 1 {
        return Err(Raise::Table("wrong number of arguments"));
    }
    let sha = super::cache::sha_of(lua.bytes(1).unwrap_or_default());
    lua.push_bytes(&sha);
    Ok(1)
}

fn error_reply(lua: Lua) -> Native {
    if lua.top() != 1 || lua.kind(1) != kind::STRING {
        super::convert::push_error_text(lua, b"ERR", b"wrong number or type of arguments");
        return Ok(1);
    }
    let text = lua.bytes(1).unwrap_or_default();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    super::convert::push_error_reply(lua, text, false);
    Ok(1)
}

fn status_reply(lua: Lua) -> Native {
    if lua.top() != 1 || lua.kind(1) != kind::STRING {
        super::convert::push_error_text(lua, b"ERR", b"wrong number or type of arguments");
        return Ok(1);
    }
    lua.new_table(0, 1);
    lua.push_copy(1);
    lua.raw_set_field(-2, "ok");
    Ok(1)
}

/// What is written is always logged: the tree takes over what the log holds.
/// So the flags are checked, and that is all.
fn set_repl(lua: Lua) -> Native {
    if lua.top() != 1 {
        return Err(Raise::Table("server.set_repl() requires one argument."));
    }
    if lua.number(1) as i64 & !3 != 0 {
        return Err(Raise::Table(
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    Ok(0)
}

fn acl_check_cmd(lua: Lua) -> Native {
    let Some(run) = run_of(lua) else {
        return Err(Raise::Table(
            "server.acl_check_cmd() can only be called in a script",
        ));
    };
    if let Err(text) = super::call::ready_arguments(lua) {
        return Err(Raise::Table(text));
    }
    let allowed = {
        let words: super::call::Words<'_> = (1..=lua.top())
            .map(|at| lua.bytes(at).unwrap_or_default())
            .collect();
        let ctx = run.ctx();
        table().find_called(&words).map(|found| {
            let words = found.declared_args(&words);
            crate::connection::gate::is_permitted(ctx.session, found.command, &words)
        })
    };
    match allowed {
        Some(allowed) => {
            lua.push_boolean(allowed);
            Ok(1)
        }
        None => Err(Raise::Table(
            "Invalid command passed to server.acl_check_cmd()",
        )),
    }
}

fn replicate_commands(lua: Lua) -> Native {
    lua.push_boolean(true);
    Ok(1)
}

/// There is no debugger.
fn breakpoint(lua: Lua) -> Native {
    lua.push_boolean(false);
    Ok(1)
}

fn debug(_: Lua) -> Native {
    Ok(0)
}

fn log(lua: Lua) -> Native {
    let count = lua.top();
    if count < 2 {
        return Err(Raise::Table("server.log() requires two arguments or more."));
    }
    let Some(level) = lua.number_if(1) else {
        return Err(Raise::Table("First argument must be a number (log level)."));
    };
    if !(0.0..=3.0).contains(&level) {
        return Err(Raise::Table("Invalid log level."));
    }
    for at in 2..=count {
        if lua.is_text(at) {
            let text = lua.bytes(at).unwrap_or_default();
            let scratch = &mut owner(lua).scratch;
            match at {
                2 => scratch.clear(),
                _ => scratch.push(b' '),
            }
            scratch.extend_from_slice(text);
        }
    }
    let text = String::from_utf8_lossy(&owner(lua).scratch);
    match level as i64 {
        0 => tracing::trace!("{text}"),
        1 => tracing::debug!("{text}"),
        2 => tracing::info!("{text}"),
        _ => tracing::warn!("{text}"),
    }
    Ok(0)
}

/// A step of the 48-bit generator of POSIX, so that a seed gives the same
/// numbers everywhere.
fn next_random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & 0xFFFF_FFFF_FFFF;
    ((*state >> 17) % RANDOM_MAX) as f64 / RANDOM_MAX as f64
}

/// `math.random`, as Lua's with the generator above.
pub fn random(lua: Lua) -> Native {
    let r = next_random(&mut owner(lua).random);
    let value = match lua.top() {
        0 => r,
        1 => {
            let upper = lua.check_integer(1)?;
            if upper < 1 {
                return Err(Raise::Argument(1, "interval is empty"));
            }
            (r * upper as f64).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (lua.check_integer(1)?, lua.check_integer(2)?);
            if lower > upper {
                return Err(Raise::Argument(2, "interval is empty"));
            }
            (r * (upper as f64 - lower as f64 + 1.0)).floor() + lower as f64
        }
        _ => return Err(Raise::Text("wrong number of arguments")),
    };
    lua.push_number(value);
    Ok(1)
}

/// `math.randomseed`.
pub fn random_seed(lua: Lua) -> Native {
    let seed = lua.check_integer(1)? as u64 & 0xFFFF_FFFF;
    owner(lua).random = (seed << 16) + 0x330E;
    Ok(0)
}
