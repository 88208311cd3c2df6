//! Values between RESP and Lua, both ways. Source: the documentation of
//! scripting with Lua (conversion tables for RESP2 and RESP3).

use super::engine::{MOST_BYTES, TURNS, run_of};
use super::invocation::Abort;
use super::lua::{Lua, Raise, kind};
use super::protect::reason;
use crate::commands::error::CommandError;
use crate::connection::dispatch::reply_error;
use crate::connection::output;
use crate::number::parse_i64;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// Marks an error that INFO errorstats has counted already.
const COUNTED: &str = "ignore_error_stats_update";

/// Pushes `{err = "<code> <text>"}`. Raises.
pub fn push_error_text(lua: Lua, code: &[u8], text: &[u8]) {
    lua.new_table(0, 2);
    lua.push_bytes(code);
    lua.push_bytes(b" ");
    lua.push_bytes(text);
    lua.concat(3);
    lua.raw_set_field(-2, "err");
}

/// Pushes the table of an error reply, given without its `-`. Raises.
pub fn push_error_reply(lua: Lua, text: &[u8], counted: bool) {
    let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let end = text.iter().rposition(|byte| !line_end(byte));
    let text = &text[..end.map_or(0, |last| last + 1)];
    match text.contains(&b' ') {
        true => {
            lua.new_table(0, 2);
            lua.push_bytes(text);
            lua.raw_set_field(-2, "err");
        }
        false => push_error_text(lua, b"ERR", text),
    }
    if counted {
        lua.push_boolean(true);
        lua.raw_set_field(-2, COUNTED);
    }
}

/// Pushes an array of strings. Raises.
pub fn push_array(lua: Lua, items: &[&[u8]]) {
    lua.new_table(items.len(), 0);
    for (index, item) in items.iter().enumerate() {
        lua.push_bytes(item);
        lua.raw_set_at(-2, index as i32 + 1);
    }
}

/// Pushes a reply; gives what follows it. Raises.
pub fn push_reply(lua: Lua, input: &'static [u8]) -> Result<&'static [u8], Raise> {
    if !lua.has_room(8) {
        return Err(Raise::Text("stack overflow"));
    }
    let end = memchr::memchr(b'\r', input).unwrap_or(input.len());
    let Some((&first, line)) = input[..end].split_first() else {
        lua.push_nil();
        return Ok(&[]);
    };
    let rest = input.get(end + 2..).unwrap_or_default();
    match first {
        b'+' => {
            lua.new_table(0, 1);
            lua.push_bytes(line);
            lua.raw_set_field(-2, "ok");
        }
        b'-' => push_error_reply(lua, line, true),
        b':' => lua.push_number(parse_i64(line).unwrap_or_default() as f64),
        b'_' => lua.push_nil(),
        b'#' => lua.push_boolean(line == b"t"),
        b',' => {
            lua.new_table(0, 1);
            lua.push_number(parse_double(line));
            lua.raw_set_field(-2, "double");
        }
        b'(' => {
            lua.new_table(0, 1);
            lua.push_bytes(line);
            lua.raw_set_field(-2, "big_number");
        }
        _ => return push_sized(lua, first, line, rest),
    }
    Ok(rest)
}

fn parse_double(text: &[u8]) -> f64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or(f64::NAN)
}

/// Pushes a reply that begins with its length.
fn push_sized(
    lua: Lua,
    first: u8,
    line: &[u8],
    rest: &'static [u8],
) -> Result<&'static [u8], Raise> {
    let Some(len) = parse_i64(line).and_then(|len| usize::try_from(len).ok()) else {
        lua.push_boolean(false);
        return Ok(rest);
    };
    match first {
        b'$' | b'=' => {
            let (bytes, after) = rest.split_at(len.min(rest.len()));
            match first {
                b'$' => lua.push_bytes(bytes),
                _ => push_verbatim(lua, bytes),
            }
            return Ok(after.get(2..).unwrap_or_default());
        }
        b'*' | b'>' => return push_items(lua, len, rest),
        b'%' => return push_map(lua, len, rest),
        b'~' => return push_set(lua, len, rest),
        _ => {}
    }
    // Attributes: not shown to scripts.
    let mut rest = rest;
    for _ in 0..len * 2 {
        rest = push_reply(lua, rest)?;
        lua.pop(1);
    }
    push_reply(lua, rest)
}

fn push_verbatim(lua: Lua, bytes: &[u8]) {
    lua.new_table(0, 1);
    lua.new_table(0, 2);
    lua.push_bytes(bytes.get(4..).unwrap_or_default());
    lua.raw_set_field(-2, "string");
    lua.push_bytes(bytes.get(..3).unwrap_or_default());
    lua.raw_set_field(-2, "format");
    lua.raw_set_field(-2, "verbatim_string");
}

fn push_items(lua: Lua, len: usize, rest: &'static [u8]) -> Result<&'static [u8], Raise> {
    let mut rest = rest;
    lua.new_table(len, 0);
    for index in 0..len {
        rest = push_reply(lua, rest)?;
        lua.raw_set_at(-2, index as i32 + 1);
    }
    Ok(rest)
}

fn push_map(lua: Lua, len: usize, rest: &'static [u8]) -> Result<&'static [u8], Raise> {
    let mut rest = rest;
    lua.new_table(0, 1);
    lua.new_table(0, len);
    for _ in 0..len {
        rest = push_reply(lua, rest)?;
        rest = push_reply(lua, rest)?;
        match lua.kind(-2) {
            kind::NIL => lua.pop(2),
            _ => lua.raw_set(-3),
        }
    }
    lua.raw_set_field(-2, "map");
    Ok(rest)
}

fn push_set(lua: Lua, len: usize, rest: &'static [u8]) -> Result<&'static [u8], Raise> {
    let mut rest = rest;
    lua.new_table(0, 1);
    lua.new_table(0, len);
    for _ in 0..len {
        rest = push_reply(lua, rest)?;
        lua.push_boolean(true);
        match lua.kind(-2) {
            kind::NIL => lua.pop(2),
            _ => lua.raw_set(-3),
        }
    }
    lua.raw_set_field(-2, "set");
    Ok(rest)
}

/// Writes the value on top as a reply. True if it is an error.
pub fn write_reply(lua: Lua, server: &Server, out: &mut ReplyBuffer) -> bool {
    let is_error = lua.kind(-1) == kind::TABLE && {
        lua.raw_get_field(-1, "err");
        let found = lua.kind(-1) == kind::STRING;
        lua.pop(1);
        found
    };
    let mark = out.len();
    let mut writer = Writer::new(lua, server, out);
    write_value(lua, &mut writer);
    if let Some(excess) = writer.excess {
        excess.settle(lua, server, out, mark);
        return is_error || excess != Excess::Client;
    }
    is_error
}

/// Why a reply is not written to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    /// It is beyond what its client may leave unread.
    Client,
    /// It is beyond what any reply of a script may be.
    Own,
    /// SCRIPT KILL ended it, or its like.
    Killed(Abort),
}

impl Excess {
    /// Replaces the reply that begins at `mark`, as far as it is written.
    fn settle(self, lua: Lua, server: &Server, out: &mut ReplyBuffer, mark: usize) {
        match (self, run_of(lua)) {
            (Excess::Client, Some(run)) => {
                output::give_up(server, run.ctx().session, out, mark);
            }
            (Excess::Killed(abort), _) => {
                out.truncate(mark);
                reply_error(server, out, &CommandError::err(reason(abort)));
            }
            _ => {
                out.truncate(mark);
                let text = "OOM the script's reply is larger than a reply may be";
                reply_error(server, out, &CommandError::text(text));
            }
        }
    }
}

/// Where a reply goes, and how far. A value that is in many places of a table is
/// in memory once, but in the reply each time.
struct Writer<'a> {
    server: &'a Server,
    out: &'a mut ReplyBuffer,
    /// How long `out` may grow, and what it is beyond then.
    most: (usize, Excess),
    excess: Option<Excess>,
    values: usize,
}

impl<'a> Writer<'a> {
    fn new(lua: Lua, server: &'a Server, out: &'a mut ReplyBuffer) -> Writer<'a> {
        let own = out.len().saturating_add(MOST_BYTES);
        let session = run_of(lua).map(|run| &*run.ctx().session);
        let clients = session.and_then(|session| output::most_bytes(server, session));
        let most = match clients {
            Some(most) if most < own => (most, Excess::Client),
            _ => (own, Excess::Own),
        };
        Writer {
            server,
            out,
            most,
            excess: None,
            values: 0,
        }
    }

    /// Whether another value may be written; a script whose reply has very many
    /// is set aside, and can be killed.
    fn has_room(&mut self, lua: Lua) -> bool {
        self.values += 1;
        if self.values.is_multiple_of(TURNS)
            && let Some(abort) = run_of(lua).and_then(|run| run.tick())
        {
            self.excess = Some(Excess::Killed(abort));
        }
        if self.out.len() > self.most.0 {
            self.excess = Some(self.most.1);
        }
        self.excess.is_none()
    }

    fn write_string(&mut self, bytes: &[u8]) {
        match self.out.len() + bytes.len() > self.most.0 {
            true => self.excess = Some(self.most.1),
            false => self.out.bulk(bytes),
        }
    }
}

/// Writes and pops the value on top.
fn write_value(lua: Lua, writer: &mut Writer<'_>) {
    if !writer.has_room(lua) {
        lua.pop(1);
        return;
    }
    let out = &mut *writer.out;
    if !lua.has_room(6) {
        let error = CommandError::err("reached lua stack limit");
        reply_error(writer.server, out, &error);
        lua.pop(1);
        return;
    }
    match lua.kind(-1) {
        kind::STRING => writer.write_string(lua.bytes(-1).unwrap_or_default()),
        kind::BOOLEAN => {
            let value = lua.boolean(-1);
            let resp = run_of(lua).map_or(Protocol::Resp2, |run| run.resp);
            match (resp, value) {
                (Protocol::Resp3, value) => out.boolean(value),
                (Protocol::Resp2, true) => out.integer(1),
                (Protocol::Resp2, false) => out.null(),
            }
        }
        kind::NUMBER => out.integer(whole(lua.number(-1))),
        kind::TABLE => write_table(lua, writer),
        _ => out.null(),
    }
    lua.pop(1);
}

/// A number cut to an integer, as C does it on this processor.
pub fn whole(number: f64) -> i64 {
    if number.is_nan() || number.abs() >= 9_223_372_036_854_775_808.0 {
        return i64::MIN;
    }
    number as i64
}

/// Looks for a field of a type; leaves it on the stack if it is there.
fn has(lua: Lua, field: &str, wanted: i32) -> bool {
    lua.raw_get_field(-1, field);
    let found = lua.kind(-1) == wanted;
    if !found {
        lua.pop(1);
    }
    found
}

fn write_table(lua: Lua, writer: &mut Writer<'_>) {
    let out = &mut *writer.out;
    if has(lua, "err", kind::STRING) {
        lua.pop(1);
        return write_error(lua, writer.server, out, false);
    }
    if has(lua, "ok", kind::STRING) {
        let text = clean(lua.bytes(-1).unwrap_or_default());
        out.simple_bytes(&text);
    } else if has(lua, "double", kind::NUMBER) {
        out.double(lua.number(-1));
    } else if has(lua, "big_number", kind::STRING) {
        let digits = clean(lua.bytes(-1).unwrap_or_default());
        out.big_number(&String::from_utf8_lossy(&digits));
    } else if has(lua, "verbatim_string", kind::TABLE) {
        if write_verbatim(lua, out) {
            lua.pop(1);
            return;
        }
        lua.pop(1);
        return write_array(lua, writer);
    } else if has(lua, "map", kind::TABLE) {
        let (deferred, mut pairs) = (out.defer(), 0);
        lua.push_nil();
        while lua.next(-2) {
            lua.push_copy(-2);
            write_value(lua, writer);
            write_value(lua, writer);
            pairs += 1;
        }
        writer.out.finish_map(deferred, pairs);
    } else if has(lua, "set", kind::TABLE) {
        let (deferred, mut items) = (out.defer(), 0);
        lua.push_nil();
        while lua.next(-2) {
            lua.pop(1);
            lua.push_copy(-1);
            write_value(lua, writer);
            items += 1;
        }
        writer.out.finish_set(deferred, items);
    } else {
        return write_array(lua, writer);
    }
    lua.pop(1);
}

fn write_array(lua: Lua, writer: &mut Writer<'_>) {
    let (deferred, mut items) = (writer.out.defer(), 0);
    loop {
        lua.raw_get_at(-1, items as i32 + 1);
        if lua.kind(-1) == kind::NIL {
            lua.pop(1);
            break;
        }
        write_value(lua, writer);
        items += 1;
    }
    writer.out.finish_array(deferred, items);
}

fn write_verbatim(lua: Lua, out: &mut ReplyBuffer) -> bool {
    lua.raw_get_field(-1, "format");
    lua.raw_get_field(-2, "string");
    let strings = lua.kind(-1) == kind::STRING && lua.kind(-2) == kind::STRING;
    if strings {
        let mut format = *b"txt";
        let given = lua.bytes(-2).unwrap_or_default();
        for (to, from) in format.iter_mut().zip(given) {
            *to = if from.is_ascii_graphic() { *from } else { b' ' };
        }
        let format = std::str::from_utf8(&format).unwrap_or("txt");
        out.verbatim(format, lua.bytes(-1).unwrap_or_default());
    }
    lua.pop(2);
    strings
}

/// A text without line breaks.
fn clean(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for byte in &mut text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    text
}

/// Writes the error of a run that ended with one; it is on top.
pub fn write_failure(lua: Lua, server: &Server, out: &mut ReplyBuffer) {
    if lua.kind(-1) == kind::TABLE {
        write_error(lua, server, out, true);
    } else {
        let text = lua.bytes(-1).map(String::from_utf8_lossy);
        let text = text.unwrap_or("execution failure".into()).into_owned();
        reply_error(server, out, &CommandError::err(text));
    }
}

/// Writes the error that the table on top describes.
fn write_error(lua: Lua, server: &Server, out: &mut ReplyBuffer, with_place: bool) {
    for field in ["err", "source", "line", COUNTED] {
        let at = match field {
            "err" => -1,
            "source" => -2,
            "line" => -3,
            _ => -4,
        };
        lua.raw_get_field(at, field);
    }
    // From here to the pop nothing raises: the line is a string below.
    let line = lua.number_if(-2).map(|line| line as i64);
    let counted = lua.boolean(-1);
    let text = lua.bytes(-4).unwrap_or(b"ERR unknown error");
    let mut text = String::from_utf8_lossy(text).into_owned();
    if with_place && let (Some(source), Some(line)) = (lua.bytes(-3), line) {
        let source = String::from_utf8_lossy(source);
        text.push_str(&format!(" script: on {source}:{line}."));
    }
    match counted {
        true => out.error(&text),
        false => reply_error(server, out, &CommandError::text(text)),
    }
    lua.pop(4);
}
