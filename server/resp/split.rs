//! Splitting a line of text into arguments: inline commands and lines of the
//! configuration file share these rules.
//!
//! | written | means |
//! |---|---|
//! | `word` | itself, up to white space |
//! | `"..."` | its bytes; `\n \r \t \b \a`, `\xHH`, and `\` before any other byte for that byte |
//! | `'...'` | its bytes; `\'` is a quote |
//!
//! Quotes may begin and end anywhere in a word: `a"b c"d` is one. A `\` before
//! the last byte of an inline command escapes nothing: `"C:\"` is whole there.
//! A NUL byte ends the line.

use std::ops::Range;

/// A quote was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits the `line` of a command, appending the unescaped bytes of all arguments to `bytes`
/// and to `args` where in `bytes` each one lies.
pub fn split_into(
    line: &[u8],
    bytes: &mut Vec<u8>,
    args: &mut Vec<Range<usize>>,
) -> Result<(), UnbalancedQuotes> {
    let line = match line.iter().position(|&byte| byte == 0) {
        Some(end) => &line[..end],
        None => line,
    };
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = bytes.len();
        at = word(line, at, bytes)?;
        args.push(start..bytes.len());
    }
}

/// Splits a line in which every word stands as it is meant, appending to `args`
/// where in `line` each one lies; false, and nothing done, if it is another.
pub fn split_plain(line: &[u8], args: &mut Vec<Range<usize>>) -> bool {
    if memchr::memchr3(b'"', b'\'', 0, line).is_some() {
        return false;
    }
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return true;
        }
        let start = at;
        while line.get(at).is_some_and(|&byte| !ends_word(byte)) {
            at += 1;
        }
        args.push(start..at);
    }
}

/// Splits the `line` of a file into owned arguments.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    // Its end is behind its last byte, which can be escaped therefore.
    split_into(&[line, b"\n"].concat(), &mut bytes, &mut ranges)?;
    Ok(ranges.into_iter().map(|r| bytes[r].to_vec()).collect())
}

/// Reads one argument that starts at `at`; returns where it ends.
fn word(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    while let Some(&byte) = line.get(at) {
        at = match byte {
            _ if ends_word(byte) => return Ok(at),
            b'"' => double_quoted(line, at + 1, out)?,
            b'\'' => single_quoted(line, at + 1, out)?,
            _ => {
                out.push(byte);
                at + 1
            }
        };
    }
    Ok(at)
}

/// Reads what is quoted from `at` on; returns where the word goes on.
fn double_quoted(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    loop {
        match line[at..] {
            [] => return Err(UnbalancedQuotes),
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'x', high, low, ..] if is_hex(high) && is_hex(low) => {
                out.push(hex_value(high) * 16 + hex_value(low));
                at += 4;
            }
            [b'\\', escaped, _, ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            [byte, ..] => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// Reads what is quoted from `at` on; returns where the word goes on.
fn single_quoted(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    loop {
        match line[at..] {
            [] => return Err(UnbalancedQuotes),
            [b'\'', ..] => return Ok(at + 1),
            [b'\\', b'\'', _, ..] => {
                out.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// White space as C's `isspace` has it: also vertical tab and form feed.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes()).ok()?;
        Some(
            words
                .iter()
                .map(|w| w.iter().map(|&b| char::from(b)).collect())
                .collect(),
        )
    }

    #[test]
    fn words_and_quotes_split_as_in_the_field() {
        let some = |words: &[&str]| Some(words.iter().map(|w| w.to_string()).collect());
        assert_eq!(words("set  key\tvalue "), some(&["set", "key", "value"]));
        assert_eq!(words(r#""a b" 'c d'"#), some(&["a b", "c d"]));
        assert_eq!(words(r#""\x41\n\r\t\b\a\q""#), some(&["A\n\r\t\x08\x07q"]));
        assert_eq!(words(r#""\x4""#), some(&["x4"]));
        assert_eq!(words(r#"'it\'s' '\n'"#), some(&["it's", "\\n"]));
        assert_eq!(words(r#"a"b c""#), some(&["ab c"]));
        assert_eq!(words(r#"a"b c"d 'x'y"#), some(&["ab cd", "xy"]));
        assert_eq!(words(r#""a""b" "a"' b'"#), some(&["ab", "a b"]));
        assert_eq!(words("\"a\"\x0bb"), some(&["a\x0bb"]));
        assert_eq!(words(r#""a\"b" \"#), some(&["a\"b", "\\"]));
        assert_eq!(words(r"'it\'s'"), some(&["it's"]));
        assert_eq!(words(r#""" ''"#), some(&["", ""]));
        assert_eq!(words("a\0b c"), some(&["a"]));
        assert_eq!(words("  "), some(&[]));
    }

    #[test]
    fn the_last_quote_of_a_command_closes_even_behind_a_backslash() {
        for line in [r#"ECHO "C:\""#, r"ECHO 'C:\'"] {
            let (mut bytes, mut args) = (Vec::new(), Vec::new());
            assert_eq!(split_into(line.as_bytes(), &mut bytes, &mut args), Ok(()));
            assert_eq!(&bytes[args[1].clone()], b"C:\\");
            assert_eq!(words(line), None, "a file's line has its end behind it");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""a"#, "'a", r#"a"b"#, r#""a\" "#, r#"a\"b"#, r#"a "b"#] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
