//! The configuration file and the command line.
//!
//! A line is a directive and its values, quoted as inline commands are; lines
//! that begin with `#` are comments. `include path` reads another file in its
//! place, and the last value of a directive wins, but `save` lines add up.
//! Command-line options, `--directive value ...`, become lines read last.

use std::fmt;
use std::path::{Path, PathBuf};

use super::directive::Kind;
use super::store::Config;
use super::table::{self, DEPRECATED, DIRECTIVES};
use crate::commands;
use crate::glob::{self, Case};
use crate::resp::split;

/// How deep files may include one another.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Why a configuration can't be used. `Display` is the report for standard
/// error, over several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file, unless the text came from elsewhere.
    pub path: Option<PathBuf>,
    /// The number of the line, from 1, and its text.
    pub line: Option<(usize, String)>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redoubt {version}) ***")?;
        if let Some((number, line)) = &self.line {
            writeln!(f, "Reading the configuration file, at line {number}")?;
            writeln!(f, ">>> '{line}'")?;
        }
        f.write_str(&self.reason)?;
        match &self.path {
            Some(path) => write!(f, " ({})", path.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FileError {}

/// Reads files and lines into a [`Config`].
#[derive(Debug, Default)]
struct Loader {
    depth: usize,
    /// `save` lines replace the default at first, and then add up.
    save_seen: bool,
}

/// Reads a file, if there is one, and then the text of options.
pub fn load(config: &mut Config, path: Option<&Path>, options: &[u8]) -> Result<(), FileError> {
    let mut loader = Loader::default();
    if let Some(path) = path {
        loader.read_file(config, path)?;
    }
    loader.read_text(config, None, options)
}

/// Turns command-line arguments into lines: each `--name` begins one, a `--`
/// alone an empty one. The word
/// behind a bare `--name` is its value even if it begins so too; but `--save`
/// may do without one.
pub fn options_from_arguments(arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut wants_value = false;
    for (at, argument) in arguments.iter().enumerate() {
        let name = argument.strip_prefix(b"--");
        let Some(name) = name.filter(|_| !wants_value) else {
            text.push(b' ');
            quote(argument, &mut text);
            wants_value = false;
            continue;
        };
        text.push(b'\n');
        text.extend_from_slice(name);
        let is_bare = split::split(name).is_ok_and(|words| words.len() == 1);
        let next = arguments.get(at + 1);
        let ends = next.is_none_or(|next| next.starts_with(b"--"));
        if is_bare && ends && name.eq_ignore_ascii_case(b"save") {
            text.extend_from_slice(b" \"\"");
        } else {
            wants_value = is_bare;
        }
    }
    text.push(b'\n');
    text
}

/// Appends `bytes` in double quotes, so that [`split`] reads the same back.
pub(super) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

impl Loader {
    fn read_file(&mut self, config: &mut Config, path: &Path) -> Result<(), FileError> {
        let failure = |reason: String| FileError {
            path: Some(path.to_owned()),
            line: None,
            reason,
        };
        if self.depth == MAX_INCLUDE_DEPTH {
            return Err(failure("Files include one another too deep".to_owned()));
        }
        let text = std::fs::read(path)
            .map_err(|error| failure(format!("Can't open the config file: {error}")))?;
        self.depth += 1;
        self.read_text(config, Some(path), &text)?;
        self.depth -= 1;
        Ok(())
    }

    fn read_text(
        &mut self,
        config: &mut Config,
        path: Option<&Path>,
        text: &[u8],
    ) -> Result<(), FileError> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let failure = |reason: String| FileError {
                path: path.map(Path::to_owned),
                line: Some((at + 1, String::from_utf8_lossy(line).into_owned())),
                reason,
            };
            let words = split::split(line).map_err(|split::UnbalancedQuotes| {
                failure("Unbalanced quotes in configuration line".to_owned())
            })?;
            let Some((name, values)) = words.split_first() else {
                continue;
            };
            if name.eq_ignore_ascii_case(b"include") && values.len() == 1 {
                for included in expand(&values[0]).map_err(failure)? {
                    self.read_file(config, &included)?;
                }
            } else {
                self.read_directive(config, name, values).map_err(failure)?;
            }
        }
        Ok(())
    }

    fn read_directive(
        &mut self,
        config: &mut Config,
        name: &[u8],
        values: &[Vec<u8>],
    ) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        let Some(id) = table::find(&name) else {
            return read_file_only(config, &name, values);
        };
        let kind = id.directive().kind;
        let mut words = values.to_vec();
        // `--save "60 1"`: several words may come as one.
        if let [word] = values
            && kind.takes_several_words()
            && !word.is_empty()
        {
            words = split::split(word)
                .map_err(|split::UnbalancedQuotes| "Unbalanced quotes in value".to_owned())?;
        }
        if matches!(kind, Kind::Save) {
            let resets = words.len() == 1;
            if self.save_seen && !resets {
                let before = config.render(id);
                let before = before.split(|&byte| byte == b' ').filter(|w| !w.is_empty());
                words = before.map(<[u8]>::to_vec).chain(words).collect();
            }
            self.save_seen = true;
        }
        config
            .set_words(id, &words)
            .map_err(std::borrow::Cow::into_owned)
    }
}

fn read_file_only(config: &mut Config, name: &[u8], values: &[Vec<u8>]) -> Result<(), String> {
    let kept = &mut config.file_only;
    match (name, values) {
        (b"user", [_, ..]) => kept.users.push(values.to_vec()),
        (b"loadmodule", [_, ..]) => kept.modules.push(values.to_vec()),
        (b"rename-command", [old, new]) => {
            kept.renamed_commands.push((old.clone(), new.clone()));
            commands::table::check_names(&kept.renamed_commands)?;
        }
        (_, [_]) if DEPRECATED.iter().any(|known| known.as_bytes() == name) => {}
        _ => {
            let mut reason = "Bad directive or wrong number of arguments".to_owned();
            if let Some(near) = nearest(name) {
                reason.push_str(&format!("; did you mean '{near}'?"));
            }
            return Err(reason);
        }
    }
    Ok(())
}

/// The files that an `include` names, in order; its last part may be a glob,
/// which may match none.
fn expand(pattern: &[u8]) -> Result<Vec<PathBuf>, String> {
    let pattern = std::str::from_utf8(pattern).map_err(|error| error.to_string())?;
    let path = Path::new(pattern);
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if !name.iter().any(|byte| b"*?[".contains(byte)) {
        return Ok(vec![path.to_owned()]);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let candidate = entry.file_name();
        if glob::matches(name, candidate.as_encoded_bytes(), Case::Sensitive) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The known name that takes the fewest edits, if it is near.
fn nearest(name: &[u8]) -> Option<&'static str> {
    const MAX_NAME_BYTES: usize = 64;
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let known = DIRECTIVES.iter().flat_map(|d| [Some(d.name), d.alias]);
    let (distance, near) = known
        .flatten()
        .map(|known| (edits(name, known.as_bytes()), known))
        .min()?;
    (distance <= name.len() / 3).then_some(near)
}

/// Levenshtein's distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
