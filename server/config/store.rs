//! The current values, and CONFIG GET and SET on them.

use std::borrow::Cow;
use std::fmt;

use super::directive::{DirectiveId, Kind, Traits};
use super::table::{self, DIRECTIVES};
use super::value::{self, Reason, Value};
use crate::glob::{self, Case};

/// Why CONFIG SET changed nothing; `Display` is the error reply's text without
/// its leading `ERR `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such directive.
    Unknown(String),
    /// A value, or the directive's traits, forbid it.
    Rejected {
        /// The directive.
        name: String,
        /// What is wrong.
        reason: Reason,
    },
    /// The directive can't be set while data is loaded: the reply is the
    /// server's LOADING error.
    Loading,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            ),
            Self::Rejected { name, reason } => write!(
                f,
                "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
            ),
            Self::Loading => f.write_str("the server is loading the dataset in memory"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// What the one who sets may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetContext {
    /// Whether `enable-protected-configs` allows it to this client.
    pub protected_allowed: bool,
    /// Whether data is being loaded.
    pub loading: bool,
}

/// The values of all directives, and what the file said besides.
#[derive(Clone, Debug)]
pub struct Config {
    values: Vec<Value>,
    /// What the file, the arguments or CONFIG SET have named.
    given: Vec<bool>,
    /// Lines of the file that are no directives.
    pub file_only: FileOnly,
}

/// What a configuration file may hold that CONFIG doesn't show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOnly {
    /// `user name rule ...`: the words after `user`.
    pub users: Vec<Vec<Vec<u8>>>,
    /// `loadmodule path argument ...`: the words after `loadmodule`.
    pub modules: Vec<Vec<Vec<u8>>>,
    /// `rename-command old new`; an empty new name removes the command.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// All defaults.
    pub fn new() -> Self {
        let default = |at: usize| default_value(DirectiveId::new(at));
        Self {
            values: (0..DIRECTIVES.len()).map(default).collect(),
            given: vec![false; DIRECTIVES.len()],
            file_only: FileOnly::default(),
        }
    }

    /// The value of a directive.
    pub fn value(&self, id: DirectiveId) -> &Value {
        &self.values[id.index()]
    }

    /// The value of a `Bool` directive; asking for another is a bug.
    pub fn bool(&self, id: DirectiveId) -> bool {
        match self.value(id) {
            Value::Bool(value) => *value,
            other => panic!("{} is {other:?}", id.directive().name),
        }
    }

    /// The value of an `Integer`, `Octal` or `Memory` directive; asking for
    /// another is a bug. Memory beyond `i64::MAX` is shown as that.
    pub fn integer(&self, id: DirectiveId) -> i64 {
        match self.value(id) {
            Value::Integer(value) => *value,
            Value::Memory(bytes) => i64::try_from(*bytes).unwrap_or(i64::MAX),
            other => panic!("{} is {other:?}", id.directive().name),
        }
    }

    /// The value as CONFIG GET shows it, as text.
    pub fn string(&self, id: DirectiveId) -> Cow<'_, str> {
        match self.value(id) {
            Value::Text(bytes) => String::from_utf8_lossy(bytes),
            _ => String::from_utf8_lossy(&self.render(id))
                .into_owned()
                .into(),
        }
    }

    /// The value as CONFIG GET shows it.
    pub fn render(&self, id: DirectiveId) -> Vec<u8> {
        value::render(id.directive().kind, self.value(id))
    }

    /// CONFIG GET: name and value of all directives whose name or alias
    /// matches one of the patterns, each once. A name that was asked for in
    /// full is shown as it was asked for, or the client would not find it.
    pub fn get<'a>(&self, patterns: &[&'a [u8]]) -> Vec<(&'a [u8], Vec<u8>)> {
        let mut found = Vec::new();
        for (at, directive) in DIRECTIVES.iter().enumerate() {
            let hidden = directive.traits.has(Traits::HIDDEN);
            for name in directive.names() {
                let matching = patterns.iter().find_map(|&pattern| match is_glob(pattern) {
                    true if hidden => None,
                    true => glob::matches(pattern, name.as_bytes(), Case::Insensitive)
                        .then_some(name.as_bytes()),
                    false => pattern
                        .eq_ignore_ascii_case(name.as_bytes())
                        .then_some(pattern),
                });
                if let Some(shown) = matching {
                    found.push((shown, self.render(DirectiveId::new(at))));
                }
            }
        }
        found
    }

    /// CONFIG SET: sets all or none, and returns what changed.
    pub fn set_many(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Vec<DirectiveId>, ConfigError> {
        let mut admitted = Vec::with_capacity(pairs.len());
        let mut loading_forbids = false;
        for (name, _) in pairs {
            let (id, name) = self.admit(name, &admitted, context)?;
            loading_forbids |= context.loading && has(id, Traits::NOT_WHILE_LOADING);
            admitted.push((id, name));
        }
        if loading_forbids {
            return Err(ConfigError::Loading);
        }
        let mut values = Vec::with_capacity(pairs.len());
        for (&(id, name), (_, text)) in admitted.iter().zip(pairs) {
            values.push(self.parse_set(id, name, text)?);
        }
        let mut changed = Vec::new();
        for ((id, _), value) in admitted.into_iter().zip(values) {
            self.given[id.index()] = true;
            if *self.value(id) != value || has(id, Traits::VOLATILE) {
                self.values[id.index()] = value;
                changed.push(id);
            }
        }
        Ok(changed)
    }

    /// Checks that a directive may be set at all; returns it, and which of its
    /// names it was called by. By each of them it may be set once.
    fn admit(
        &self,
        name: &[u8],
        before: &[(DirectiveId, &'static str)],
        context: SetContext,
    ) -> Result<(DirectiveId, &'static str), ConfigError> {
        let shown = String::from_utf8_lossy(name);
        let Some((id, called)) = table::find_name(name) else {
            return Err(ConfigError::Unknown(shown.into_owned()));
        };
        let reason = if has(id, Traits::IMMUTABLE) {
            "can't set immutable config"
        } else if has(id, Traits::PROTECTED) && !context.protected_allowed {
            "can't set protected config"
        } else if before.contains(&(id, called)) {
            "duplicate parameter"
        } else {
            return Ok((id, called));
        };
        Err(ConfigError::Rejected {
            name: shown.into_owned(),
            reason: reason.into(),
        })
    }

    fn parse_set(&self, id: DirectiveId, name: &str, text: &[u8]) -> Result<Value, ConfigError> {
        let directive = id.directive();
        let words: Vec<Vec<u8>> = match directive.kind.takes_several_words() {
            false => vec![text.to_vec()],
            true if text.is_empty() => Vec::new(),
            true => text
                .split(|&byte| byte == b' ')
                .map(<[u8]>::to_vec)
                .collect(),
        };
        self.parse(id, &words)
            .map_err(|reason| ConfigError::Rejected {
                name: name.to_owned(),
                reason,
            })
    }

    /// Sets a value from the words of a line of the file, whatever its traits.
    pub(super) fn set_words(&mut self, id: DirectiveId, words: &[Vec<u8>]) -> Result<(), Reason> {
        self.values[id.index()] = self.parse(id, words)?;
        self.given[id.index()] = true;
        Ok(())
    }

    fn parse(&self, id: DirectiveId, words: &[Vec<u8>]) -> Result<Value, Reason> {
        let value = value::parse(id.directive().kind, words, Some(self.value(id)))?;
        Ok(confined(id, value))
    }

    /// Sets a value that the server itself has found out, such as the absolute
    /// path of `dir`, or the primary after REPLICAOF. A value of another kind
    /// is a bug.
    pub fn set_value(&mut self, id: DirectiveId, value: Value) {
        let current = &mut self.values[id.index()];
        let same_kind = std::mem::discriminant(current) == std::mem::discriminant(&value);
        assert!(same_kind, "{} is no {value:?}", id.directive().name);
        *current = value;
    }

    /// Whether somebody has named a directive, be it with its default value.
    pub fn is_given(&self, id: DirectiveId) -> bool {
        self.given[id.index()]
    }

    /// Whether a directive has its default value.
    pub fn is_default(&self, id: DirectiveId) -> bool {
        *self.value(id) == default_value(id)
    }
}

/// Whether a word of CONFIG GET stands for more than one name.
fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| b"[*?".contains(byte))
}

/// The nearest value that the server can work with, where one beyond is no
/// error either.
fn confined(id: DirectiveId, value: Value) -> Value {
    const HZ: DirectiveId = table::id("hz");
    const BACKLOG: DirectiveId = table::id("repl-backlog-size");
    match (id, value) {
        (HZ, Value::Integer(hz)) => Value::Integer(hz.clamp(1, 500)),
        (BACKLOG, Value::Memory(bytes)) => Value::Memory(bytes.max(16 << 10)),
        (_, value) => value,
    }
}

fn has(id: DirectiveId, traits: Traits) -> bool {
    id.directive().traits.has(traits)
}

/// The declared default. Defaults are tested to be valid.
fn default_value(id: DirectiveId) -> Value {
    let directive = id.directive();
    if let (Kind::ReplicaOf, "") = (directive.kind, directive.default) {
        return Value::ReplicaOf(None);
    }
    if let Kind::Text(_) = directive.kind {
        return Value::Text(directive.default.as_bytes().to_vec());
    }
    let words: Vec<Vec<u8>> = if directive.kind.takes_several_words() {
        directive
            .default
            .split_ascii_whitespace()
            .map(|word| word.as_bytes().to_vec())
            .collect()
    } else {
        vec![directive.default.as_bytes().to_vec()]
    };
    match value::parse(directive.kind, &words, None) {
        Ok(value) => value,
        Err(reason) => panic!("the default of {}: {reason}", directive.name),
    }
}
