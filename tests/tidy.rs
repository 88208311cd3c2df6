//! The tree's style as a test: sizes, module docs, forbidden words, layering.
//!
//! Source text is read with comments and literals blanked out (see [`code_only`]), so that a brace
//! in a string counts for nothing. Exceptions stand in [`EXCEPTIONS`], each with its reason.

use std::fs;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 5] = ["server", "cluster", "persistence", "tests", "benches"];
/// `data` is where `scripts/start` keeps its keys.
const TOP_LEVEL: [&str; 10] = [
    "server",
    "cluster",
    "persistence",
    "tests",
    "benches",
    "scripts",
    ".ci",
    ".git",
    "target",
    "data",
];
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// What may break a rule: (path, rule, reason).
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    (
        "tests/tidy.rs",
        "forbidden",
        "names the forbidden words to forbid them",
    ),
    (
        "server/commands/server/info/sections.rs",
        "function length",
        "a section of INFO is a plain list of fields, in the order that clients see",
    ),
    (
        "server/commands/server/info/statistics.rs",
        "function length",
        "as above",
    ),
];

/// A breach of a rule, with where and what.
struct Breach {
    path: String,
    rule: &'static str,
    text: String,
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = Vec::new();
    for folder in FOLDERS {
        for path in rust_files(&root.join(folder)) {
            let source = fs::read_to_string(&path).expect("a source file is UTF-8");
            let relative = path.strip_prefix(root).expect("it lies below the root");
            check_file(&relative.to_string_lossy(), &source, &mut breaches);
        }
    }
    let excepted = |breach: &Breach| {
        EXCEPTIONS
            .iter()
            .any(|(path, rule, _)| *path == breach.path && *rule == breach.rule)
    };
    let report: Vec<String> = breaches
        .iter()
        .filter(|breach| !excepted(breach))
        .map(|breach| format!("{}: {}: {}", breach.path, breach.rule, breach.text))
        .collect();
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn the_top_level_holds_only_the_known_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root).expect("the root can be listed") {
        let entry = entry.expect("an entry can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = !entry.path().is_dir() || TOP_LEVEL.contains(&name.as_str());
        assert!(known, "an unknown folder at the top: {name}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn check_file(path: &str, source: &str, breaches: &mut Vec<Breach>) {
    let mut breach = |rule, text: String| {
        breaches.push(Breach {
            path: path.into(),
            rule,
            text,
        });
    };
    if !source.starts_with("//!") {
        breach("module doc", "does not begin with //!".into());
    }
    let code = code_only(source);
    let tests_at = code.find("mod tests {").unwrap_or(code.len());
    let is_test = path.starts_with("tests/") || path.ends_with("tests.rs");
    let lines = code[..tests_at].lines().count();
    if lines > FILE_LINES && !is_test {
        breach("file length", format!("{lines} lines"));
    }
    for (line, length) in long_functions(&code) {
        breach("function length", format!("line {line}: {length} lines"));
    }
    for word in ["todo!", "unimplemented!", "dbg!"] {
        if code.contains(word) {
            breach("forbidden", word.into());
        }
    }
    if source.contains("TODO") {
        breach("forbidden", "TODO".into());
    }
    let sans_io = path.starts_with("cluster/") || path.starts_with("persistence/");
    if sans_io && code.contains("tokio") {
        breach("layering", "names tokio".into());
    }
    let unwraps = code[..tests_at].matches(".unwrap()").count();
    if unwraps > 0 && !is_test {
        println!("warning: {path}: {unwraps} × .unwrap(); give a reason with expect");
    }
}

/// (line, length) of each function that is longer than allowed, from its `fn` to its last brace.
fn long_functions(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
            continue;
        }
        let (mut depth, mut nested) = (0usize, 0usize);
        for (offset, byte) in bytes[at..].iter().enumerate() {
            match byte {
                b'(' | b'[' => nested += 1,
                b')' | b']' => nested = nested.saturating_sub(1),
                // A declaration without a body, or a type such as `Box<dyn Fn(fn ())>`.
                b';' if depth == 0 && nested == 0 => break,
                b'{' => depth += 1,
                b'}' if depth == 0 => break,
                b'}' => depth -= 1,
                _ => continue,
            }
            if *byte == b'}' && depth == 0 {
                let length = code[at..at + offset].lines().count();
                if length > FUNCTION_LINES {
                    found.push((code[..at].lines().count(), length));
                }
                break;
            }
        }
    }
    found
}

/// The source with the inside of comments, strings and character literals turned into blanks.
/// Line ends stay where they are.
fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_length(bytes, at);
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// Length of the comment or literal that begins at `at`; 0 if none does.
fn literal_length(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let in_word = at > 0 && identifier(bytes[at - 1]) && bytes[at - 1] != b'b';
    match rest {
        [b'/', b'/', ..] => position(rest, b"\n", 0),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'r', b'"' | b'#', ..] if !in_word => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0; // a raw identifier
            }
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            (position(rest, &close, 2 + hashes) + close.len()).min(rest.len())
        }
        [b'"', ..] => quoted_length(rest),
        [b'\'', b'\\', ..] => quoted_length(rest),
        // A character, not a lifetime: the closing quote follows one character.
        [b'\'', first, ..] => {
            let width = first.leading_ones().max(1) as usize;
            let closed = rest.get(1 + width) == Some(&b'\'');
            if closed { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn position(haystack: &[u8], needle: &[u8], from: usize) -> usize {
    let from = from.min(haystack.len());
    haystack[from..]
        .windows(needle.len())
        .position(|window| window == needle)
        .map_or(haystack.len(), |found| from + found)
}

fn quoted_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == rest[0] => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn braces_in_strings_and_comments_count_for_nothing() {
    let source = "fn a() { '{'; \"}\\\"{\"; r#\"{\"#; /* { /* } */ */ } // }\n&'a x";
    let code = code_only(source);
    assert_eq!(code.matches('{').count(), 1);
    assert_eq!(code.matches('}').count(), 1);
    assert!(code.contains("&'a x"));
    assert_eq!(code.len(), source.len());
}

#[test]
fn a_long_function_and_a_forbidden_word_are_found() {
    let body = "    x();\n".repeat(FUNCTION_LINES);
    let source = format!("//! Doc.\nfn long() {{\n{body}}}\n// TODO\n");
    let mut breaches = Vec::new();
    check_file("cluster/x.rs", &source, &mut breaches);
    let rules: Vec<&str> = breaches.iter().map(|breach| breach.rule).collect();
    assert_eq!(rules, ["function length", "forbidden"]);
    breaches.clear();
    check_file("cluster/x.rs", "use tokio::net;", &mut breaches);
    let rules: Vec<&str> = breaches.iter().map(|breach| breach.rule).collect();
    assert_eq!(rules, ["module doc", "layering"]);
}
