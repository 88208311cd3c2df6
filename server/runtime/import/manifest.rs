//! The manifest of an append-only directory: which files, in which order.
//!
//! A line is pairs of words: `file NAME`, `seq N`, and `type` `b` (the base,
//! at most one), `i` (an increment, with growing numbers) or `h` (history, not
//! needed any more); other pairs are passed over, `#` begins a comment.
//! Format: `aof.c` of Valkey 8.0.

use std::path::{Path, PathBuf};

use crate::number;
use crate::resp::split::split;

/// The longest line.
const MAX_LINE_BYTES: usize = 1024;

/// The names of the files in the order of their loading.
fn parse(text: &[u8]) -> Result<Vec<String>, (usize, &'static str)> {
    const FORMAT: &str = "Invalid AOF manifest file format";
    if text.is_empty() {
        return Err((0, "Found an empty AOF manifest"));
    }
    let (mut base, mut increments) = (None, Vec::new());
    let mut last = 0;
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    for (number, line) in body.split(|&byte| byte == b'\n').enumerate() {
        let wrong = |what| (number + 1, what);
        if line.first() == Some(&b'#') {
            continue;
        }
        if line.len() >= MAX_LINE_BYTES {
            return Err(wrong("The AOF manifest file contains too long line"));
        }
        let (name, seq, kind) = parse_line(line).ok_or(wrong(FORMAT))?;
        if name.contains('/') {
            return Err(wrong("File can't be a path, just a filename"));
        }
        match kind {
            b'b' if base.is_some() => {
                return Err(wrong("Found duplicate base file information"));
            }
            b'b' => base = Some(name),
            b'i' if seq <= last => {
                return Err(wrong("Found a non-monotonic sequence number"));
            }
            b'i' => {
                last = seq;
                increments.push(name);
            }
            b'h' => {}
            _ => return Err(wrong("Unknown AOF file type")),
        }
    }
    Ok(base.into_iter().chain(increments).collect())
}

fn parse_line(line: &[u8]) -> Option<(String, i64, u8)> {
    let words = split(line).ok()?;
    let (pairs, []) = words.as_chunks::<2>() else {
        return None;
    };
    let value = |name: &str| {
        let found = pairs
            .iter()
            .find(|[key, _]| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|[_, value]| value.as_slice())
    };
    let name = String::from_utf8(value("file")?.to_vec()).ok()?;
    let seq = number::parse_i64(value("seq")?).filter(|seq| *seq > 0)?;
    Some((name, seq, *value("type")?.first()?))
}

/// The files that a manifest names, in the order of their loading. All are
/// there.
pub fn files(manifest: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = manifest.display();
    let text = std::fs::read(manifest).map_err(|error| format!("can't read {shown}: {error}"))?;
    let names = parse(&text).map_err(|(line, what)| format!("{shown}, line {line}: {what}"))?;
    let dir = manifest.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    for path in &paths {
        std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_comes_first_and_history_is_left_out() {
        let text = b"# made by hand\nfile a.1.incr.aof seq 1 type h\n\
            file a.2.incr.aof seq 2 type i color blue\nfile \"b c.base.rdb\" seq 7 type b\n\
            file a.9.incr.aof seq 9 type i\n";
        let names = parse(text).unwrap();
        assert_eq!(names, ["b c.base.rdb", "a.2.incr.aof", "a.9.incr.aof"]);
    }

    #[test]
    fn a_manifest_that_is_not_one_is_refused_with_the_line() {
        let long = [b"file ".as_slice(), &[b'x'; 2000], b" seq 1 type i\n"].concat();
        for (text, line, what) in [
            (&b""[..], 0, "empty"),
            (b"\n", 1, "format"),
            (b"file a seq 1 type i\n\nfile b seq 2 type i\n", 2, "format"),
            (b"file a seq 1\n", 1, "format"),
            (b"file a seq 1 type i odd\n", 1, "format"),
            (b"file a seq x type i\n", 1, "format"),
            (b"file a seq 1 type x\n", 1, "type"),
            (b"file ../a seq 1 type i\n", 1, "path"),
            (
                b"file a seq 1 type b\nfile b seq 2 type b\n",
                2,
                "duplicate",
            ),
            (
                b"file a seq 2 type i\nfile b seq 2 type i\n",
                2,
                "monotonic",
            ),
            (&long, 1, "long"),
        ] {
            let (at, error) = parse(text).unwrap_err();
            assert!(at == line && error.contains(what), "{at}: {error}");
        }
    }
}
