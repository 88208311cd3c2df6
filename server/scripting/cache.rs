//! The scripts that EVALSHA finds, by the SHA-1 of their text. What EVAL
//! brings is forgotten again when there are too many; what SCRIPT LOAD brings
//! stays until SCRIPT FLUSH.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::run::Flags;
use crate::commands::error::CommandError;
use crate::resp::split::split;

/// Scripts of EVAL that are kept. Source: Valkey.
const MOST_OF_EVAL: usize = 500;

/// A SHA-1 in lower-case hexadecimal.
pub type Sha = [u8; 40];

/// A script.
pub struct Script {
    /// The SHA-1 of its text.
    pub sha: Sha,
    /// Its text.
    pub body: Vec<u8>,
    /// Where the text begins that Lua sees, behind the first line's `#!`.
    pub start: usize,
    /// What its first line says; None without such a line.
    pub flags: Option<Flags>,
    /// It came with SCRIPT LOAD.
    pinned: AtomicBool,
    /// When it was used last, in uses of any.
    used: AtomicU64,
    /// It uses keys that it does not declare, see `locks.rs`.
    pub roams: AtomicBool,
    /// It has been forgotten; interpreters drop it.
    pub gone: AtomicBool,
}

/// The scripts of a server.
#[derive(Default)]
pub struct Scripts {
    by_sha: HashMap<Sha, Arc<Script>>,
    of_eval: usize,
    /// How many scripts of EVAL were forgotten to make room.
    pub evicted: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

static USES: AtomicU64 = AtomicU64::new(1);

impl Script {
    /// Reads a script's first line.
    pub fn parse(sha: Sha, body: &[u8]) -> Result<Script, CommandError> {
        let (flags, start) = parse_shebang(body)?;
        Ok(Script {
            sha,
            body: body.to_vec(),
            start,
            flags,
            pinned: AtomicBool::new(false),
            used: AtomicU64::new(0),
            roams: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }

    /// Notes a use.
    pub fn touch(&self) {
        if !self.pinned.load(Ordering::Relaxed) {
            self.used
                .store(USES.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Scripts {
    /// Finds a script.
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.by_sha.get(sha).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_sha.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_sha.is_empty()
    }

    /// Adds a script that compiles, or pins one that is there.
    pub fn add(&mut self, script: Script, pinned: bool) -> Arc<Script> {
        if let Some(known) = self.by_sha.get(&script.sha) {
            if pinned && !known.pinned.swap(true, Ordering::Relaxed) {
                self.of_eval -= 1;
            }
            return known.clone();
        }
        if !pinned {
            while self.of_eval >= MOST_OF_EVAL {
                self.forget_oldest();
            }
            self.of_eval += 1;
        }
        let script = Arc::new(script);
        script.touch();
        script.pinned.store(pinned, Ordering::Relaxed);
        self.bytes += script.body.len() as u64 + 40;
        self.by_sha.insert(script.sha, script.clone());
        script
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .by_sha
            .values()
            .filter(|script| !script.pinned.load(Ordering::Relaxed))
            .min_by_key(|script| script.used.load(Ordering::Relaxed));
        let Some(sha) = oldest.map(|script| script.sha) else {
            self.of_eval = 0;
            return;
        };
        if let Some(script) = self.by_sha.remove(&sha) {
            script.gone.store(true, Ordering::Relaxed);
            self.bytes -= script.body.len() as u64 + 40;
        }
        self.of_eval -= 1;
        self.evicted += 1;
    }

    /// Forgets all.
    pub fn flush(&mut self) {
        for script in self.by_sha.values() {
            script.gone.store(true, Ordering::Relaxed);
        }
        *self = Scripts {
            evicted: self.evicted,
            ..Scripts::default()
        };
    }
}

/// The SHA-1 of a text.
pub fn sha_of(text: &[u8]) -> Sha {
    let mut sha = [0; 40];
    let digest = sha1_smol::Sha1::from(text).digest().to_string();
    sha.copy_from_slice(digest.as_bytes());
    sha
}

/// A SHA-1 as a client gives it, in any case.
pub fn parse_sha(text: &[u8]) -> Option<Sha> {
    let mut sha: Sha = text.try_into().ok()?;
    sha.make_ascii_lowercase();
    Some(sha)
}

/// Reads the `#!lua flags=…` of a script's first line; gives the flags and
/// where the rest begins.
fn parse_shebang(body: &[u8]) -> Result<(Option<Flags>, usize), CommandError> {
    if !body.starts_with(b"#!") {
        return Ok((None, 0));
    }
    let end = body.iter().position(|&b| b == b'\n');
    let end = end.ok_or_else(|| CommandError::err("Invalid script shebang"))?;
    let parts =
        split(&body[..end]).map_err(|_| CommandError::err("Invalid engine in script shebang"))?;
    let [engine, options @ ..] = parts.as_slice() else {
        return Err(CommandError::err("Invalid engine in script shebang"));
    };
    let refuse = |text: &str, word: &[u8]| {
        let word = String::from_utf8_lossy(word);
        CommandError::err(format!("{text}: {word}"))
    };
    let mut flags = Flags::default();
    for option in options {
        let names = option
            .strip_prefix(b"flags=")
            .ok_or_else(|| refuse("Unknown lua shebang option", option))?;
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&b| b == b',') {
            if !flags.set(name) {
                return Err(refuse("Unexpected flag in script shebang", name));
            }
        }
    }
    let engine = &engine[2..];
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(CommandError::err(format!(
            "Could not find scripting engine '{}'",
            String::from_utf8_lossy(engine)
        )));
    }
    Ok((Some(flags), end))
}
