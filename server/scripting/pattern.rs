//! Matching Lua's patterns. Lua's own code recurses in C as deep as the
//! subject and the pattern ask for, and never looks at the clock; this ends in
//! an error instead, and can be killed. Source: the manual of Lua 5.1, section
//! 5.4.1 on patterns.

use super::engine::run_of;
use super::lua::{Lua, Native, Raise};

const MOST_CAPTURES: usize = 32;
/// Depth of recursion; each quantifier and each capture of a pattern takes one.
const MOST_DEPTH: u32 = 4000;
/// Steps between two looks at the clock. One is a byte of the subject or of the
/// pattern.
const STEPS: usize = 1 << 16;

/// A part of the subject that a pattern put in parentheses.
#[derive(Clone, Copy)]
struct Capture {
    start: usize,
    len: Length,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Not closed yet.
    Open,
    /// `()`: the place itself.
    Position,
    Known(usize),
}

/// A match under way. Owns nothing.
pub struct Matcher {
    lua: Lua,
    /// What is searched.
    pub subject: &'static [u8],
    pattern: &'static [u8],
    captures: [Capture; MOST_CAPTURES],
    level: usize,
    depth: u32,
    /// Since the last look at the clock.
    steps: usize,
}

type Found = Result<Option<usize>, Raise>;

impl Matcher {
    /// Nothing matched yet.
    pub fn new(lua: Lua, subject: &'static [u8], pattern: &'static [u8]) -> Matcher {
        let capture = Capture {
            start: 0,
            len: Length::Open,
        };
        Matcher {
            lua,
            subject,
            pattern,
            captures: [capture; MOST_CAPTURES],
            level: 0,
            depth: 0,
            steps: 0,
        }
    }

    /// Matches the pattern from `p` on at `s`; gives where the match ends.
    pub fn begin(&mut self, s: usize, p: usize) -> Found {
        self.level = 0;
        self.depth = 0;
        self.matches(s, p)
    }

    fn step(&mut self, bytes: usize) -> Result<(), Raise> {
        self.steps += bytes;
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        if let Some(abort) = run_of(self.lua).and_then(|run| run.tick()) {
            return Err(super::protect::end(self.lua, abort));
        }
        Ok(())
    }

    fn matches(&mut self, s: usize, p: usize) -> Found {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Raise::Text("pattern too complex"));
        }
        let found = self.matches_here(s, p);
        self.depth -= 1;
        found
    }

    fn matches_here(&mut self, mut s: usize, mut p: usize) -> Found {
        loop {
            self.step(1)?;
            let Some(&first) = self.pattern.get(p) else {
                return Ok(Some(s));
            };
            match first {
                b'(' if self.pattern.get(p + 1) == Some(&b')') => {
                    return self.open_capture(s, p + 2, Length::Position);
                }
                b'(' => return self.open_capture(s, p + 1, Length::Open),
                b')' => return self.close_capture(s, p + 1),
                b'%' => match self.pattern.get(p + 1) {
                    Some(b'b') => {
                        let Some(end) = self.balanced(s, p + 2)? else {
                            return Ok(None);
                        };
                        (s, p) = (end, p + 4);
                        continue;
                    }
                    Some(b'f') => {
                        p += 2;
                        if self.pattern.get(p) != Some(&b'[') {
                            return Err(Raise::Text("missing '[' after '%f' in pattern"));
                        }
                        let end = self.class_end(p)?;
                        self.step(end - p)?;
                        let before = if s == 0 { 0 } else { self.subject[s - 1] };
                        let here = self.subject.get(s).copied().unwrap_or(0);
                        if self.in_set(before, p, end - 1) || !self.in_set(here, p, end - 1) {
                            return Ok(None);
                        }
                        p = end;
                        continue;
                    }
                    Some(digit) if digit.is_ascii_digit() => {
                        let Some(end) = self.back_reference(s, *digit)? else {
                            return Ok(None);
                        };
                        (s, p) = (end, p + 2);
                        continue;
                    }
                    _ => {}
                },
                b'$' if p + 1 == self.pattern.len() => {
                    return Ok((s == self.subject.len()).then_some(s));
                }
                _ => {}
            }
            let end = self.class_end(p)?;
            self.step(end - p)?;
            let fits = s < self.subject.len() && self.single(s, p, end);
            match self.pattern.get(end) {
                Some(b'?') => {
                    if fits && let Some(found) = self.matches(s + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    p = end + 1;
                }
                Some(b'*') => return self.most(s, p, end),
                Some(b'+') if fits => return self.most(s + 1, p, end),
                Some(b'+') => return Ok(None),
                Some(b'-') => return self.fewest(s, p, end),
                _ if fits => (s, p) = (s + 1, end),
                _ => return Ok(None),
            }
        }
    }

    /// Where the single-character class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Raise> {
        let mut at = p + 1;
        match self.pattern[p] {
            b'%' if at >= self.pattern.len() => {
                Err(Raise::Text("malformed pattern (ends with '%')"))
            }
            b'%' => Ok(at + 1),
            b'[' => {
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                let mut first = true;
                loop {
                    match self.pattern.get(at) {
                        None => return Err(Raise::Text("malformed pattern (missing ']')")),
                        Some(b']') if !first => return Ok(at + 1),
                        Some(b'%') => at += 2,
                        Some(_) => at += 1,
                    }
                    first = false;
                }
            }
            _ => Ok(at),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let byte = self.subject[s];
        match self.pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether a byte is in the set from `[` at `p` to `]` at `last`.
    fn in_set(&self, byte: u8, p: usize, last: usize) -> bool {
        let mut at = p + 1;
        let negated = self.pattern.get(at) == Some(&b'^');
        if negated {
            at += 1;
        }
        while at < last {
            let here = self.pattern[at];
            if here == b'%' && at + 1 < self.pattern.len() {
                if in_class(byte, self.pattern[at + 1]) {
                    return !negated;
                }
                at += 2;
            } else if self.pattern.get(at + 1) == Some(&b'-') && at + 2 < last {
                if (here..=self.pattern[at + 2]).contains(&byte) {
                    return !negated;
                }
                at += 3;
            } else {
                if here == byte {
                    return !negated;
                }
                at += 1;
            }
        }
        negated
    }

    fn most(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while s + count < self.subject.len() && self.single(s + count, p, end) {
            count += 1;
            self.step(end - p)?;
        }
        loop {
            if let Some(found) = self.matches(s + count, end + 1)? {
                return Ok(Some(found));
            }
            match count {
                0 => return Ok(None),
                _ => count -= 1,
            }
        }
    }

    fn fewest(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.matches(s, end + 1)? {
                return Ok(Some(found));
            }
            self.step(end - p)?;
            if s < self.subject.len() && self.single(s, p, end) {
                s += 1;
            } else {
                return Ok(None);
            }
        }
    }

    fn open_capture(&mut self, s: usize, p: usize, len: Length) -> Found {
        if self.level >= MOST_CAPTURES {
            return Err(Raise::Text("too many captures"));
        }
        self.captures[self.level] = Capture { start: s, len };
        self.level += 1;
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close_capture(&mut self, s: usize, p: usize) -> Found {
        let open = self.captures[..self.level]
            .iter()
            .rposition(|capture| capture.len == Length::Open);
        let Some(open) = open else {
            return Err(Raise::Text("invalid pattern capture"));
        };
        self.captures[open].len = Length::Known(s - self.captures[open].start);
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.captures[open].len = Length::Open;
        }
        Ok(found)
    }

    fn balanced(&mut self, s: usize, p: usize) -> Found {
        let &[open, close] = self.pattern.get(p..p + 2).unwrap_or_default() else {
            return Err(Raise::Text("unbalanced pattern"));
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        let subject = self.subject;
        for (offset, &byte) in subject[s + 1..].iter().enumerate() {
            self.step(1)?;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(s + offset + 2));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn back_reference(&mut self, s: usize, digit: u8) -> Found {
        let number = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let capture = self.captures[..self.level].get(number);
        let Some(&Capture {
            start,
            len: Length::Known(len),
        }) = capture
        else {
            return Err(Raise::Text("invalid capture index"));
        };
        self.step(len)?;
        let text = &self.subject[start..start + len];
        Ok(self.subject[s..].starts_with(text).then_some(s + len))
    }

    /// Pushes a capture, or the whole match if there is none. Raises.
    pub fn push_capture(&self, number: usize, start: usize, end: usize) -> Result<(), Raise> {
        if number >= self.level {
            if number != 0 {
                return Err(Raise::Text("invalid capture index"));
            }
            self.lua.push_bytes(&self.subject[start..end]);
            return Ok(());
        }
        let capture = self.captures[number];
        match capture.len {
            Length::Open => return Err(Raise::Text("unfinished capture")),
            Length::Position => self.lua.push_number((capture.start + 1) as f64),
            Length::Known(len) => {
                let text = &self.subject[capture.start..capture.start + len];
                self.lua.push_bytes(text);
            }
        }
        Ok(())
    }

    /// Pushes all captures; `whole`: the match if there is none. Raises.
    pub fn push_captures(&self, start: usize, end: usize, whole: bool) -> Native {
        let count = match self.level {
            0 if whole => 1,
            level => level,
        };
        if !self.lua.has_room(count as i32 + 4) {
            return Err(Raise::Text("too many captures"));
        }
        for number in 0..count {
            self.push_capture(number, start, end)?;
        }
        Ok(count as i32)
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 11,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}
