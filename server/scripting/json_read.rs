//! `cjson.decode`: from JSON text to values. Numbers are read as C's `strtod`
//! reads them, hexadecimal among them.

use super::engine::{owner, turn};
use super::lua::{Lua, Native, Raise};

/// What comes next in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String,
    Number,
    True,
    False,
    Null,
    Colon,
    Comma,
    End,
    Invalid(&'static str),
}

impl Token {
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number => "T_NUMBER",
            Token::True | Token::False => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Invalid(text) => text,
        }
    }
}

/// The text and how far it was read. A string that was read is in the
/// interpreter's scratch.
#[derive(Clone, Copy)]
struct Parser {
    lua: Lua,
    text: &'static [u8],
    at: usize,
    /// Where the last token begins.
    token_at: usize,
    number: f64,
    depth: i64,
    most_depth: i64,
    invalid_numbers: bool,
}

/// `cjson.decode(text)`.
pub fn decode(lua: Lua) -> Native {
    if lua.top() != 1 {
        return Err(Raise::Argument(1, "expected 1 argument"));
    }
    let (most_depth, invalid_numbers) = super::json::decode_limits(lua);
    let mut parser = Parser {
        lua,
        text: lua.check_bytes(1)?,
        at: 0,
        token_at: 0,
        number: 0.0,
        depth: 0,
        most_depth,
        invalid_numbers,
    };
    if parser.text.len() >= 2 && (parser.text[0] == 0 || parser.text[1] == 0) {
        return Err(Raise::Text("JSON parser does not support UTF-16 or UTF-32"));
    }
    let token = parser.next();
    parser.value(token)?;
    let token = parser.next();
    if token != Token::End {
        return Err(parser.unexpected("the end", token));
    }
    Ok(1)
}

impl Parser {
    fn unexpected(&self, wanted: &str, found: Token) -> Raise {
        let lua = self.lua;
        let mut digits = itoa::Buffer::new();
        lua.push_place(1);
        for text in [
            "Expected ",
            wanted,
            " but found ",
            found.name(),
            " at character ",
            digits.format(self.token_at + 1),
        ] {
            lua.push_bytes(text.as_bytes());
        }
        lua.concat(7);
        Raise::Top
    }

    /// Pushes the value that begins with a token.
    fn value(&mut self, token: Token) -> Result<(), Raise> {
        let lua = self.lua;
        turn(lua)?;
        match token {
            Token::String => lua.push_bytes(&owner(lua).scratch),
            Token::Number => lua.push_number(self.number),
            Token::True => lua.push_boolean(true),
            Token::False => lua.push_boolean(false),
            Token::Null => lua.push_pointer(std::ptr::null_mut()),
            Token::ObjectBegin => return self.object(),
            Token::ArrayBegin => return self.array(),
            other => return Err(self.unexpected("value", other)),
        }
        Ok(())
    }

    fn descend(&mut self) -> Result<(), Raise> {
        self.depth += 1;
        let lua = self.lua;
        if self.depth <= self.most_depth && lua.has_room(8) {
            return Ok(());
        }
        let (mut depth, mut at) = (itoa::Buffer::new(), itoa::Buffer::new());
        lua.push_place(1);
        for text in [
            "Found too many nested data structures (",
            depth.format(self.depth),
            ") at character ",
            at.format(self.at),
        ] {
            lua.push_bytes(text.as_bytes());
        }
        lua.concat(5);
        Err(Raise::Top)
    }

    fn object(&mut self) -> Result<(), Raise> {
        self.descend()?;
        self.lua.new_table(0, 0);
        let mut token = self.next();
        if token != Token::ObjectEnd {
            loop {
                if token != Token::String {
                    return Err(self.unexpected("object key string", token));
                }
                self.lua.push_bytes(&owner(self.lua).scratch);
                let colon = self.next();
                if colon != Token::Colon {
                    return Err(self.unexpected("colon", colon));
                }
                let value = self.next();
                self.value(value)?;
                self.lua.raw_set(-3);
                match self.next() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected("comma or object end", other)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Raise> {
        self.descend()?;
        self.lua.new_table(0, 0);
        let mut token = self.next();
        if token != Token::ArrayEnd {
            for number in 1.. {
                self.value(token)?;
                self.lua.raw_set_at(-2, number);
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected("comma or array end", other)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn next(&mut self) -> Token {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.token_at = self.at;
        let Some(&byte) = self.text.get(self.at) else {
            return Token::End;
        };
        let single = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            _ => return self.word_or_number(),
        };
        self.at += 1;
        single
    }

    fn word_or_number(&mut self) -> Token {
        let rest = &self.text[self.at..];
        for (word, token) in [
            (b"true".as_slice(), Token::True),
            (b"false", Token::False),
            (b"null", Token::Null),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        let is_number = matches!(rest[0], b'-' | b'0'..=b'9');
        if !self.invalid_numbers && !is_number {
            return Token::Invalid("invalid token");
        }
        if !self.invalid_numbers && !is_plain_number(rest) {
            return Token::Invalid("invalid number");
        }
        match read_number(rest) {
            Some((number, len)) => {
                self.number = number;
                self.at += len;
                Token::Number
            }
            None => Token::Invalid(match rest[0] {
                b'-' | b'+' | b'0'..=b'9' => "invalid number",
                _ => "invalid token",
            }),
        }
    }

    fn string(&mut self) -> Token {
        let out = &mut owner(self.lua).scratch;
        out.clear();
        let mut at = self.at + 1;
        loop {
            let rest = &self.text[at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            at += plain;
            match self.text.get(at) {
                Some(b'"') => break,
                Some(_) => match escape(&self.text[at + 1..], out) {
                    Some(len) => at += 1 + len,
                    None => {
                        self.token_at = at;
                        return Token::Invalid(match self.text.get(at + 1) {
                            Some(b'u') => "invalid unicode escape code",
                            _ => "invalid escape code",
                        });
                    }
                },
                None => {
                    self.token_at = self.text.len();
                    return Token::Invalid("unexpected end of string");
                }
            }
        }
        self.at = at + 1;
        Token::String
    }
}

/// Reads what follows a backslash; gives how long it was.
fn escape(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let byte = match rest.first()? {
        b'"' => b'"',
        b'\\' => b'\\',
        b'/' => b'/',
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode(&rest[1..], out).map(|len| len + 1),
        _ => return None,
    };
    out.push(byte);
    Some(1)
}

fn hexadecimal(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    let mut value = 0;
    for digit in digits {
        value = value * 16 + char::from(*digit).to_digit(16)?;
    }
    Some(value)
}

/// Reads the digits of `\uXXXX`, and of a second one behind a high surrogate.
fn unicode(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let first = hexadecimal(rest)?;
    let (code, len) = match first {
        0xDC00..=0xDFFF => return None,
        0xD800..=0xDBFF => {
            if rest.get(4..6) != Some(b"\\u") {
                return None;
            }
            let second = hexadecimal(&rest[6..])?;
            if !(0xDC00..=0xDFFF).contains(&second) {
                return None;
            }
            (0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff), 10)
        }
        code => (code, 4),
    };
    let mut bytes = [0; 4];
    let char = char::from_u32(code)?;
    out.extend_from_slice(char.encode_utf8(&mut bytes).as_bytes());
    Some(len)
}

/// Whether a number is one of JSON's.
fn is_plain_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => false,
        [b'0'..=b'9', ..] => true,
        _ => false,
    }
}

/// Reads a number from the beginning; gives its length.
fn read_number(text: &[u8]) -> Option<(f64, usize)> {
    if !matches!(
        text.first()?,
        b'-' | b'+' | b'0'..=b'9' | b'i' | b'I' | b'n' | b'N'
    ) {
        return None;
    }
    let mut copy = [0_u8; 352];
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
    let len = text
        .iter()
        .take(copy.len() - 1)
        .take_while(|b| fits(b))
        .count();
    copy[..len].copy_from_slice(&text[..len]);
    let mut end = std::ptr::null_mut();
    // SAFETY: the copy ends with a zero byte, and `end` points into it.
    let (number, used) = unsafe {
        let start = copy.as_ptr().cast::<libc::c_char>();
        let number = libc::strtod(start, &raw mut end);
        (number, end.offset_from(start) as usize)
    };
    (used > 0).then_some((number, used))
}
