//! Glob patterns over bytes, as KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACL
//! channel rules use them.
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any run of bytes, the empty one too |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]` | one byte of the set |
//! | `[^a-z]` | one byte outside the set |
//! | `\x` | `x` itself |
//! | anything else | itself |
//!
//! As in the field, no pattern that needs a byte and no `*` alone matches the
//! empty string except the empty pattern; callers that list all names treat
//! `*` apart. Time is at most pattern length times text length: on a mismatch
//! only the last `*` is extended, since an earlier one could not do better.

/// Whether letters are compared by their ASCII lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` and `A` differ.
    Sensitive,
    /// `a` and `A` are the same letter.
    Insensitive,
}

/// Says whether `text` as a whole matches `pattern`. Malformed patterns (an
/// unclosed `[`, a trailing `\`) are legal and mean what the field's servers
/// take them to mean.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to resume when a comparison fails: just after the last `*`, and
    // the text position that it should swallow next.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        match match_one(&pattern[p..], text[t], case) {
            Some(width) => {
                p += width;
                t += 1;
            }
            None => match &mut retry {
                Some((after_star, swallowed)) => {
                    *swallowed += 1;
                    p = *after_star;
                    t = *swallowed;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the element at the head of `pattern`. Returns the
/// element's width when it matches. An empty pattern matches nothing.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match_set(pattern, byte, case),
        b'\\' if pattern.len() >= 2 => same(pattern[1], byte, case).then_some(2),
        literal => same(literal, byte, case).then_some(1),
    }
}

/// Matches one byte against a `[...]` set. A set that is never closed ends
/// with the pattern. A byte after `\` is compared exactly, whatever the case
/// option: that is how the field's servers do it.
fn match_set(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= in_range(first, last, byte, case);
                at += 3;
            }
            [member, ..] => {
                found |= same(member, byte, case);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

/// A range may be written from either end.
fn in_range(first: u8, last: u8, byte: u8, case: Case) -> bool {
    let (low, high) = (first.min(last), first.max(last));
    let (low, high) = (fold(low, case), fold(high, case));
    (low..=high).contains(&fold(byte, case))
}

fn same(a: u8, b: u8, case: Case) -> bool {
    fold(a, case) == fold(b, case)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn literals_wildcards_and_sets_match_as_in_the_field() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", false),
            ("**", "", false),
            ("", "a", false),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("a*b", "ab", true),
            ("a*b", "aXXbXb", true),
            ("a*b", "aXXbX", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[]a", "a", false),
            ("[", "[", false),
            ("[^", "x", true),
            ("[^", "", false),
            ("[a", "a", true),
            ("[a-", "-", true),
            ("a[b", "ab", true),
            ("*[", "x[", false),
            ("?*?", "ab", true),
            ("?*?", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn case_folds_letters_but_not_escaped_set_members() {
        let nocase = |p: &str, t: &str| matches(p.as_bytes(), t.as_bytes(), Case::Insensitive);
        assert!(nocase("MaxMem*", "maxmemory"));
        assert!(nocase("[A-C]", "b"));
        assert!(nocase("\\A", "a"));
        assert!(!nocase("[\\A]", "a"));
        assert!(!glob("MaxMem*", "maxmemory"));
    }

    #[test]
    fn bytes_beyond_ascii_match_themselves() {
        assert!(matches(b"\xff?\x80", b"\xff\x00\x80", Case::Sensitive));
        assert!(matches(b"[\x80-\xff]", b"\xc3", Case::Sensitive));
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = b"a*".repeat(2_000);
        let mut text = vec![b'a'; 20_000];
        assert!(matches(&pattern, &text, Case::Sensitive));
        text.push(b'b');
        let hostile = [&pattern[..], b"c"].concat();
        assert!(!matches(&hostile, &text, Case::Sensitive));
    }
}
